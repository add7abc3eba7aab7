"""Baselines that must be beaten."""

from __future__ import annotations

import math
from collections.abc import Iterator

from validation.benchmark.metrics import lower_is_better
from validation.gate.config import BeatRule
from validation.gate.decision import RuleResult
from validation.gate.evidence import Scored, UnknownError, finite, gap, unknown
from validation.gate.paired import compare, interval

SLACK = 1e-12
"""Rounding of a difference of two floats; far below what any evaluation set can show."""


def beat(candidate: Scored, name: str, rival: Scored | None, rule: BeatRule, level: float) -> Iterator[RuleResult]:
    """The candidate leads the rival on every metric of the rule."""
    for metric in sorted(set(rule.metrics)):
        row = f"beat/{name}/{metric}"
        try:
            if rival is None:
                raise UnknownError(f"{name} was not scored, so nobody knows whether it is beaten")
            apart = candidate.not_comparable(rival.record)
            if apart:
                raise UnknownError(f"{name} {apart}: score it again")
            yield _beaten(row, candidate, rival, metric, rule, level)
        except UnknownError as error:
            score = candidate.record.scores.get(metric)
            yield unknown(row, str(error), value=finite(score.value) if score else None)


def _beaten(row: str, candidate: Scored, rival: Scored, metric: str, rule: BeatRule, level: float) -> RuleResult:
    own, theirs = candidate.score(metric).value, rival.score(metric).value
    lower = lower_is_better(metric)
    by = rule.by * theirs if lower else rule.by
    bound = theirs - by if lower else theirs + by
    lead = theirs - own if lower else own - theirs
    numbers = finite(own), finite(bound), finite(theirs)
    if not math.isfinite(lead):
        return unknown(row, f"one of the two is no number, so nobody knows whether {rival.who} is beaten", *numbers)
    if not lead > 0:
        return RuleResult(row, False, f"does not beat {rival.who}", *numbers)
    if not rule.shown:
        passed = lead >= by - SLACK
        short = "" if passed else f", less than the {gap(by, metric)} asked"
        return RuleResult(row, passed, f"leads {rival.who} by {gap(lead, metric)}{short}", *numbers)
    compared = compare(candidate, rival, metric, level=level, drop=by or 1.0)
    passed, test = compared.shows_lead(by), compared.test
    asked = "lies above" if passed else "does not lie above"
    reason = f"leads {rival.who} by {interval(test, metric)}, which {asked} {gap(by, metric)}"
    return RuleResult(row, passed, reason, *numbers, low=test.low, high=test.high)
