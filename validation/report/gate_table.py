"""The gate's rules as rows of texts, refusals first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from validation.gate import Decision, RuleResult


@dataclass(frozen=True)
class GateRow:
    """One rule."""

    verdict: str
    """NO, WAIVED or ok."""
    name: str
    value: str
    bound: str
    incumbent: str
    interval: str
    """Of candidate minus incumbent, paired."""
    power: str
    """Chance that a true loss would have been shown, in percent."""
    smallest_drop: str
    """The smallest true loss that would be shown with power 0.8."""
    reason: str
    waiver: str
    """Who answers for it, why and until when."""


def gate_rows(decision: Decision) -> list[GateRow]:
    """What refuses, then what was waived, then what holds."""
    return [_row(rule) for rule in decision.sorted_rules()]


def _row(rule: RuleResult) -> GateRow:
    waiver = rule.waiver
    no_interval = rule.low is None or rule.high is None
    return GateRow(
        verdict=rule.verdict,
        name=rule.name,
        value=_number(rule.value),
        bound=_number(rule.bound),
        incumbent=_number(rule.incumbent),
        interval="" if no_interval else f"{rule.low:+.3f} to {rule.high:+.3f}",
        power="" if rule.power is None else f"{100 * rule.power:.0f} %",
        smallest_drop="" if rule.smallest_drop is None else _number(rule.smallest_drop),
        reason=rule.reason,
        waiver=f"{waiver.name}, until {waiver.expires}: {waiver.reason}" if waiver else "",
    )


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"
