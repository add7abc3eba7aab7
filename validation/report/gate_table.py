"""The gate's rules as rows of texts, refusals first."""

from __future__ import annotations

from dataclasses import dataclass

from validation.gate import Decision, RuleResult

_ORDER = ("NO", "WAIVED", "ok")


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
    reason: str
    waiver: str
    """Who answers for it, why and until when."""


def gate_rows(decision: Decision) -> list[GateRow]:
    """NO, then WAIVED, then ok; each by name."""
    rows = [_row(rule) for rule in decision.rules]
    return sorted(rows, key=lambda row: (_ORDER.index(row.verdict), row.name))


def _row(rule: RuleResult) -> GateRow:
    low, high, power = (getattr(rule, name, None) for name in ("low", "high", "power"))
    waiver = getattr(rule, "waiver", None)
    return GateRow(
        verdict="ok" if rule.passed else "WAIVED" if waiver else "NO",
        name=rule.name,
        value=_number(rule.value),
        bound=_number(rule.bound),
        incumbent=_number(rule.incumbent),
        interval="" if low is None or high is None else f"{low:+.3f} to {high:+.3f}",
        power="" if power is None else f"{100 * power:.0f} %",
        reason=rule.reason,
        waiver=f"{waiver.name}, until {waiver.expires}: {waiver.reason}" if waiver else "",
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"
