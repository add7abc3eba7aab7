"""Rules without which a decision means nothing: sound numbers, tasks that were asked, enough items, a fresh set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date

from validation.benchmark.record import BenchmarkRecord, Score
from validation.gate.config import GatePolicy, Pin
from validation.gate.decision import RuleResult
from validation.gate.evidence import Scored, is_sound, unknown


def policy_judges(policy: GatePolicy) -> RuleResult:
    """A policy that asks for no score would let anything pass."""
    if policy.judges_scores():
        return RuleResult("policy", True, "the policy judges scores")
    return unknown("policy", "the policy has neither floors nor rivals to beat: it would let anything pass")


def all_finite(candidate: Scored) -> RuleResult:
    """Every score and slice is a number that its metric can have, whether a rule asks for it or not."""
    record = candidate.record
    if not record.scores:
        return unknown("finite", "the candidate has no score at all")
    bad = sorted(key for key, score in [*record.scores.items(), *record.slices.items()] if not _is_finite(score))
    if bad:
        return unknown("finite", f"not a finite number: {', '.join(bad)}")
    odd = sorted(key for key, score in [*record.scores.items(), *record.slices.items()] if not is_sound(key, score))
    if odd:
        return unknown("finite", f"no value that such a metric can have: {', '.join(odd)}")
    return RuleResult("finite", True, f"all {len(record.scores)} scores are finite")


def _is_finite(score: Score) -> bool:
    return all(math.isfinite(number) for number in (score.value, score.low, score.high, score.n))


def required(candidate: Scored, task: str) -> RuleResult:
    """The task was asked at all."""
    name = f"required/{task}"
    if any(key.startswith(f"{task}/") for key in candidate.record.scores):
        return RuleResult(name, True, "the task was scored")
    return unknown(name, candidate.missing(task))


def enough(candidate: Scored, key: str, least: int) -> RuleResult:
    """So many queries or products stand behind a task's metrics, or behind one metric."""
    name = f"min_n/{key}"
    scores = candidate.record.scores
    counts = [score.n for metric, score in scores.items() if metric == key or metric.startswith(f"{key}/")]
    if not counts:
        return unknown(name, candidate.missing(key), bound=least)
    passed = min(counts) >= least
    reason = "enough were asked" if passed else "too few were asked to decide anything"
    return RuleResult(name, passed, reason, min(counts), least)


def pinned(record: BenchmarkRecord, pin: Pin, today: date | None) -> Iterator[RuleResult]:
    """The scores are of the set the policy was written for, and that set is not too old."""
    name = "benchmark/digest"
    if record.eval_set_digest == pin.digest:
        yield RuleResult(name, True, "scored on the evaluation set the policy was written for")
    else:
        reason = (
            f"scored on evaluation set {record.eval_set_digest[:12]}, but the policy was written for "
            f"{pin.digest[:12]}: its numbers say nothing about another set"
        )
        yield unknown(name, reason)
    if pin.expires is None:
        return
    name, until = "benchmark/expiry", f"{pin.expires:%Y-%m-%d}"
    if today is None:
        yield unknown(name, f"the set decides until {until}, and what day it is was not said")
    elif today > pin.expires:
        yield RuleResult(name, False, f"the set decided until {until}, and it is {today}: build a fresh one")
    else:
        yield RuleResult(name, True, f"the set decides until {until}")
