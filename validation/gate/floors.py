"""Absolute bounds of a metric."""

from __future__ import annotations

from validation.gate.decision import RuleResult
from validation.gate.evidence import Scored, UnknownError, finite, gap, unknown


def floor(candidate: Scored, metric: str, bound: float) -> RuleResult:
    """The metric is at least `bound`."""
    name = f"floor/{metric}"
    try:
        value = candidate.score(metric).value
    except UnknownError as error:
        return unknown(name, str(error), bound=bound)
    passed = value >= bound
    reason = "reaches the floor" if passed else f"{gap(bound - value, metric)} below the floor"
    return RuleResult(name, passed, reason, finite(value), bound)


def ceiling(candidate: Scored, metric: str, bound: float) -> RuleResult:
    """The metric, of which less is better, is at most `bound`."""
    name = f"ceiling/{metric}"
    try:
        value = candidate.score(metric).value
    except UnknownError as error:
        return unknown(name, str(error), bound=bound)
    passed = value <= bound
    reason = "keeps below the ceiling" if passed else f"{gap(value - bound, metric)} above the ceiling"
    return RuleResult(name, passed, reason, finite(value), bound)
