"""The gate: every rule must hold, whatever cannot be known refuses."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from validation.benchmark.record import BenchmarkRecord, Score
from validation.benchmark.table import main_score
from validation.config import BeatRule, GatePolicy
from validation.gate.decision import Decision, RuleResult

_SLACK = 1e-12
"""Rounding of a difference of two floats; far below what any evaluation set can show."""


def decide(
    policy: GatePolicy,
    candidate: BenchmarkRecord,
    rivals: Mapping[str, BenchmarkRecord],
    champion: BenchmarkRecord | None = None,
    champion_digest: str | None = None,
) -> Decision:
    """Judge `candidate` by `policy`.

    A pure function: no clock, no file, no randomness. The order of rules never matters. A metric, rival or champion
    record that is not there refuses, and so does a policy that judges no score.

    Args:
        policy: The rules.
        candidate: Scores of the model that asks.
        rivals: Name -> scores of the trivial baselines on the same evaluation set.
        champion: Scores of the incumbent on the same evaluation set by the same code; None where there is none.
        champion_digest: Digest of the registered champion; None where there is none. One without a record refuses:
            the incumbent has not been scored.

    Returns:
        The decision, its rules sorted by name.
    """
    rules = [
        _policy_judges(policy),
        _all_finite(candidate),
        *(_required(candidate, task) for task in set(policy.required_tasks)),
        *(_floor(candidate, metric, bound) for metric, bound in policy.floors.items()),
        *(rule for name, beat in policy.beat.items() for rule in _beat(candidate, name, rivals.get(name), beat)),
        *(_enough(candidate, key, least) for key, least in policy.min_n.items()),
        *_champion(policy, candidate, champion, champion_digest),
    ]
    incumbent = champion_digest or (champion.encoder_digest if champion else None)
    return Decision(
        passed=all(rule.passed for rule in rules),
        rules=tuple(sorted(rules, key=lambda rule: rule.name)),
        candidate_digest=candidate.encoder_digest,
        champion_digest=incumbent,
        eval_set_digest=candidate.eval_set_digest,
        main_score=_finite(main_score(candidate)),
        champion_main_score=_finite(main_score(champion)) if champion else None,
        policy_digest=_digest(policy),
    )


def _policy_judges(policy: GatePolicy) -> RuleResult:
    judges = bool(policy.floors or policy.beat)
    reason = (
        "the policy judges scores"
        if judges
        else "the policy has neither floors nor rivals to beat: it would let anything pass"
    )
    return RuleResult("policy", judges, reason)


def _all_finite(candidate: BenchmarkRecord) -> RuleResult:
    bad = sorted(
        key
        for key, score in candidate.scores.items()
        if not all(math.isfinite(number) for number in (score.value, score.low, score.high))
    )
    if not candidate.scores:
        return RuleResult("finite", False, "the candidate has no score at all")
    reason = f"not a finite number: {', '.join(bad)}" if bad else f"all {len(candidate.scores)} scores are finite"
    return RuleResult("finite", not bad, reason)


def _required(candidate: BenchmarkRecord, task: str) -> RuleResult:
    name = f"required/{task}"
    if any(key.startswith(f"{task}/") for key in candidate.scores):
        return RuleResult(name, True, "the task was scored")
    return RuleResult(name, False, _missing(candidate, task))


def _floor(candidate: BenchmarkRecord, metric: str, bound: float) -> RuleResult:
    name, score = f"floor/{metric}", candidate.scores.get(metric)
    if score is None:
        return RuleResult(name, False, _missing(candidate, metric), bound=bound)
    passed = score.value >= bound
    reason = "reaches the floor" if passed else f"{_gap(bound - score.value)} below the floor"
    return RuleResult(name, passed, reason, _finite(score.value), bound)


def _beat(
    candidate: BenchmarkRecord, rival_name: str, rival: BenchmarkRecord | None, beat: BeatRule
) -> Iterable[RuleResult]:
    apart = _not_comparable(candidate, rival) if rival else ""
    for metric in sorted(set(beat.metrics)):
        name, own = f"beat/{rival_name}/{metric}", candidate.scores.get(metric)
        theirs = rival.scores.get(metric) if rival else None
        if rival is None:
            yield RuleResult(name, False, f"{rival_name} was not scored, so nobody knows whether it is beaten")
        elif apart:
            yield RuleResult(name, False, f"{rival_name} {apart}: score it again")
        elif own is None:
            yield RuleResult(name, False, _missing(candidate, metric), incumbent=_value(theirs))
        elif theirs is None:
            yield RuleResult(name, False, f"{rival_name}: {_missing(rival, metric)}", _finite(own.value))
        else:
            passed = own.value > theirs.value and own.value - theirs.value >= beat.by - _SLACK
            lead = own.value - theirs.value
            reason = f"leads {rival_name} by {_gap(lead)}" + (
                "" if passed else f", less than the {_gap(beat.by)} asked"
            )
            if lead <= 0 or math.isnan(lead):
                reason = f"does not beat {rival_name}"
            bound = _finite(theirs.value + beat.by)
            yield RuleResult(name, passed, reason, _finite(own.value), bound, _finite(theirs.value))


def _enough(candidate: BenchmarkRecord, key: str, least: int) -> RuleResult:
    name = f"min_n/{key}"
    counts = [score.n for metric, score in candidate.scores.items() if metric == key or metric.startswith(f"{key}/")]
    if not counts:
        return RuleResult(name, False, _missing(candidate, key), bound=least)
    passed = min(counts) >= least
    reason = "enough were asked" if passed else "too few were asked to decide anything"
    return RuleResult(name, passed, reason, min(counts), least)


def _champion(
    policy: GatePolicy, candidate: BenchmarkRecord, champion: BenchmarkRecord | None, digest: str | None
) -> list[RuleResult]:
    if champion is None and digest is None:
        return [RuleResult("champion", True, "there is no champion yet")]
    if champion is None:
        return [RuleResult("champion", False, "the champion has no score on this evaluation set: rescore the champion")]
    if digest is not None and digest != champion.encoder_digest:
        reason = "the scores given are not those of the registered champion: rescore the champion"
        return [RuleResult("champion", False, reason)]
    apart = _not_comparable(candidate, champion)
    if apart:
        return [RuleResult("champion", False, f"the champion {apart}: rescore the champion")]
    own, theirs = main_score(candidate), main_score(champion)
    passed = own > theirs
    if passed:
        reason = f"main score {_gap(own - theirs)} above the champion's"
    elif own == theirs:
        reason = "main score equals the champion's: a tie keeps the champion"
    elif math.isnan(own) or math.isnan(theirs):
        reason = "a main score is missing, so nobody knows who is better"
    else:
        reason = f"main score {_gap(theirs - own)} below the champion's"
    rules = [RuleResult("champion", passed, reason, _finite(own), _finite(theirs), _finite(theirs))]
    return rules + [_no_loss(candidate, champion, metric, drop) for metric, drop in policy.champion.items()]


def _no_loss(candidate: BenchmarkRecord, champion: BenchmarkRecord, metric: str, max_drop: float) -> RuleResult:
    name = f"champion/{metric}"
    own, theirs = candidate.scores.get(metric), champion.scores.get(metric)
    if own is None:
        return RuleResult(name, False, _missing(candidate, metric), incumbent=_value(theirs))
    if theirs is None:
        return RuleResult(name, False, f"champion: {_missing(champion, metric)}", _finite(own.value))
    bound = theirs.value - max_drop
    passed = own.value >= bound - _SLACK
    drop = theirs.value - own.value
    reason = (
        f"falls {_gap(drop)} below the champion, {'within' if passed else 'more than'} the {_gap(max_drop)} allowed"
    )
    if drop <= 0:
        reason = "does not fall below the champion"
    if not math.isfinite(drop):
        reason = "cannot be compared: one of the two is not a number"
    return RuleResult(name, passed, reason, _finite(own.value), _finite(bound), _finite(theirs.value))


def _not_comparable(candidate: BenchmarkRecord, other: BenchmarkRecord) -> str:
    """Why two records cannot be compared; empty when they can."""
    if candidate.eval_set_digest != other.eval_set_digest:
        return f"was scored on evaluation set {other.eval_set_digest[:12]}, not {candidate.eval_set_digest[:12]}"
    if candidate.harness_digest != other.harness_digest:
        return "was scored by another version of the benchmark's code"
    return ""


def _missing(record: BenchmarkRecord, key: str) -> str:
    """Why there is no number for `key`, a task or a metric."""
    why = record.not_applicable.get(key) or record.not_applicable.get(key.partition("/")[0])
    if why:
        return f"{key} has no score: {why}"
    close = get_close_matches(key, [*record.scores, *record.tasks], n=1)
    return f"{key} has no score" + (f"; did you mean {close[0]}?" if close else "")


def _value(score: Score | None) -> float | None:
    return None if score is None else _finite(score.value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _gap(value: float) -> str:
    return f"{100 * value:.1f} points"


def _digest(policy: GatePolicy) -> str:
    rows = json.dumps(policy.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(rows.encode()).hexdigest()
