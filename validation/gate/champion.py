"""No regression against the incumbent, and something gained over it."""

from __future__ import annotations

import math

from validation.benchmark.metrics import lower_is_better
from validation.benchmark.table import main_score
from validation.gate.config import GatePolicy, NoLoss
from validation.gate.decision import RuleResult
from validation.gate.evidence import Scored, UnknownError, finite, unknown
from validation.gate.paired import Comparison, compare, compare_main, interval


def comparable(candidate: Scored, champion: Scored | None, digest: str | None) -> RuleResult:
    """There is no champion, or its scores are those of the registered one on the same set by the same code."""
    if champion is None and digest is None:
        return RuleResult("champion", True, "there is no champion yet")
    if champion is None:
        return unknown("champion", "the champion has no score on this evaluation set: rescore the champion")
    if digest is not None and digest != champion.record.encoder_digest:
        return unknown("champion", "the scores given are not those of the registered champion: rescore the champion")
    apart = candidate.not_comparable(champion.record)
    if apart:
        return unknown("champion", f"the champion {apart}: rescore the champion")
    return RuleResult("champion", True, "the champion was scored on the same questions by the same code")


def against_champion(policy: GatePolicy, candidate: Scored, champion: Scored) -> list[RuleResult]:
    """What the main score gains, and no loss on any metric of the policy; for a champion that is comparable."""
    rules = [_no_loss(policy, candidate, champion, metric, rule) for metric, rule in policy.champion.items()]
    return rules if policy.gain == "none" else [_gain(policy, candidate, champion), *rules]


def _gain(policy: GatePolicy, candidate: Scored, champion: Scored) -> RuleResult:
    name, own, theirs = "champion/gain", main_score(candidate.record), main_score(champion.record)
    numbers = finite(own), finite(theirs), finite(theirs)
    if not (math.isfinite(own) and math.isfinite(theirs)):
        return unknown(name, "a main score is missing, so nobody knows who is better", *numbers)
    if own == theirs:
        return RuleResult(name, False, "main score equals the champion's: a tie keeps the champion", *numbers)
    if own < theirs:
        return RuleResult(name, False, f"main score {100 * (theirs - own):.1f} points below the champion's", *numbers)
    reason = f"main score {100 * (own - theirs):.1f} points above the champion's"
    if policy.gain == "any":
        return RuleResult(name, True, reason, *numbers)
    try:
        compared = compare_main(candidate, champion, level=policy.level)
    except UnknownError as error:
        return unknown(name, str(error), *numbers)
    passed, test = compared.shows_lead(0.0), compared.test
    reason += f", in pairs {interval(test, 'main score')}" + ("" if passed else ", which is not shown")
    return RuleResult(name, passed, reason, *numbers, low=test.low, high=test.high)


def _no_loss(policy: GatePolicy, candidate: Scored, champion: Scored, metric: str, rule: NoLoss) -> RuleResult:
    name = f"champion/{metric}"
    try:
        own, theirs = candidate.score(metric).value, champion.score(metric).value
        numbers = finite(own), None, finite(theirs)
        compared = compare_by(policy, candidate, champion, metric, rule)
    except UnknownError as error:
        score = candidate.record.scores.get(metric)
        return unknown(name, str(error), value=finite(score.value) if score else None)
    fault = fault_of(policy, compared, rule)
    reason = f"{fault or 'no loss is shown'}: {compared.sentence(metric)}{power_told(policy, compared, rule)}"
    test = compared.test
    return RuleResult(
        name,
        not fault,
        reason,
        *numbers,
        low=test.low,
        high=test.high,
        power=test.power,
        smallest_drop=finite(test.smallest_drop),
    )


def compare_by(
    policy: GatePolicy, candidate: Scored, champion: Scored, key: str, rule: NoLoss, *, share: int = 1
) -> Comparison:
    """Pair the two on `key` as `rule` asks; the level is divided by `share`, the number of slices judged together.

    Raises:
        UnknownError: As `compare`.
    """
    drop = rule.drop * champion.score(key).value if lower_is_better(key) else rule.drop
    return compare(candidate, champion, key, level=(rule.level or policy.level) / share, drop=drop)


def fault_of(policy: GatePolicy, compared: Comparison, rule: NoLoss) -> str:
    """Why a comparison refuses; empty where it does not."""
    power = _asked(policy, rule)
    if compared.test.shown_worse:
        return f"a loss is shown at level {compared.test.level:.2g}"
    # Written so that a power that is no number refuses.
    if power is not None and not compared.sure_power >= power:
        return "no loss is shown, but the set might not show one"
    return ""


def power_told(policy: GatePolicy, compared: Comparison, rule: NoLoss) -> str:
    """The power that the rule went by, which is not the test's own; empty where none was asked."""
    power = _asked(policy, rule)
    return "" if power is None else f"; counted from losses alone, power {compared.sure_power:.2f} of {power:.2f} asked"


def _asked(policy: GatePolicy, rule: NoLoss) -> float | None:
    return policy.min_power if rule.power is None else rule.power
