"""Rules that somebody answers for."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from validation.gate.config import Waiver
from validation.gate.decision import RuleResult, UsedWaiver


def waive(rule: RuleResult, waiver: Waiver | None, today: date | None) -> RuleResult:
    """The rule, with its waiver where one is needed and holds.

    A waiver forgives a number that falls short. What is not known it cannot forgive, because nobody can say what would
    be let through; nor does it hold after its last day, or when the day is not known.
    """
    if waiver is None or rule.passed:
        return rule
    who = f"the waiver of {waiver.name}"
    if not rule.known:
        return replace(rule, reason=f"{rule.reason}; {who} cannot help: it forgives a number, never the want of one")
    if today is None:
        return replace(rule, reason=f"{rule.reason}; {who} ends on {waiver.expires}, and what day it is was not said")
    if today > waiver.expires:
        return replace(rule, reason=f"{rule.reason}; {who} expired on {waiver.expires}")
    return replace(rule, waiver=UsedWaiver(waiver.name, waiver.reason, str(waiver.expires)))
