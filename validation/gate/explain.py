"""A decision at length, for whoever asks why."""

from __future__ import annotations

import textwrap

from validation.gate.decision import Decision, RuleResult, number

_WIDTH = 110
_INDENT = " " * 8


def explained(decision: Decision) -> str:
    """Each rule with its numbers, verdict, waiver and reason, refusals first; plain text for a terminal."""
    rows = [
        ("candidate", decision.candidate_digest),
        ("champion", decision.champion_digest or "none"),
        ("evaluation set", decision.eval_set_digest),
        ("policy", decision.policy_digest),
        ("decided for", decision.today or "no day"),
        ("main score", f"{number(decision.main_score)}, champion {number(decision.champion_main_score)}"),
    ]
    head = [decision.headline(), "", *(f"{name:<16}{value}" for name, value in rows), ""]
    return "\n".join([*head, *(line for rule in decision.sorted_rules() for line in _lines(rule)), ""])


def _lines(rule: RuleResult) -> list[str]:
    shown = {
        "value": rule.value,
        "bound": rule.bound,
        "incumbent": rule.incumbent,
        "power": rule.power,
        "smallest drop": rule.smallest_drop,
    }
    numbers = [f"{name} {number(value)}" for name, value in shown.items() if value is not None]
    if rule.low is not None and rule.high is not None:
        numbers.append(f"difference {rule.low:+.4f} to {rule.high:+.4f}")
    lines = [f"{rule.verdict:<8}{rule.name}"]
    if numbers:
        lines.append(f"{_INDENT}{', '.join(numbers)}")
    lines += textwrap.wrap(rule.reason, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
    if rule.waiver is not None:
        text = f"waived by {rule.waiver.name} until {rule.waiver.expires}: {rule.waiver.reason}"
        lines += textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return lines
