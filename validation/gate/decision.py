"""What the gate answers, with every reason."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from catalog.errors import ConfigError

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class UsedWaiver:
    """Who answers for a rule that does not hold."""

    name: str
    reason: str
    expires: str
    """Last day, as 2027-06-30."""


@dataclass(frozen=True)
class RuleResult:
    """One rule and how it came out."""

    name: str
    passed: bool
    """Whether the rule holds; a waiver changes nothing about it."""
    reason: str
    """A sentence for a person."""
    value: float | None = None
    """The candidate's number; None where there is none."""
    bound: float | None = None
    """What the number had to reach, or not to exceed."""
    incumbent: float | None = None
    """The rival's or champion's number that the bound comes from."""
    known: bool = True
    """False where it refuses because something cannot be known: no waiver helps there."""
    low: float | None = None
    high: float | None = None
    """Ends of the paired interval of candidate minus incumbent."""
    power: float | None = None
    """Chance that a true loss of the size asked for would have been shown."""
    smallest_drop: float | None = None
    """The smallest true loss that would be shown with power 0.8."""
    waiver: UsedWaiver | None = None
    """Set where the rule does not hold and somebody answers for it."""

    @property
    def verdict(self) -> Literal["ok", "WAIVED", "NO"]:
        """In one word."""
        return "ok" if self.passed else "WAIVED" if self.waiver else "NO"

    @property
    def sentence(self) -> str:
        """The reason, and the waiver where there is one."""
        if self.waiver is None:
            return self.reason
        own = self.waiver
        return f"{self.reason}; waived by {own.name} until {own.expires}: {own.reason}"


@dataclass(frozen=True)
class Decision:
    """Pass or refuse. It passes when there is at least one rule and every rule holds or is waived."""

    passed: bool
    rules: tuple[RuleResult, ...]
    candidate_digest: str
    champion_digest: str | None
    eval_set_digest: str
    main_score: float | None
    champion_main_score: float | None
    policy_digest: str
    today: str | None = None
    """The day it was decided for, as 2027-06-30; expiries are counted from it."""
    schema_version: int = SCHEMA_VERSION

    @property
    def failures(self) -> tuple[RuleResult, ...]:
        """The rules that refuse."""
        return tuple(rule for rule in self.rules if rule.verdict == "NO")

    @property
    def waived(self) -> tuple[RuleResult, ...]:
        """The rules that do not hold and that somebody answers for."""
        return tuple(rule for rule in self.rules if rule.verdict == "WAIVED")

    @property
    def used_waivers(self) -> list[dict[str, str]]:
        """rule, name, reason and expires of every waiver that was needed."""
        return [{"rule": rule.name} | asdict(rule.waiver) for rule in self.waived if rule.waiver is not None]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON: no number in it is NaN."""
        return asdict(self)

    def to_json(self) -> str:
        """JSON with sorted keys."""
        return json.dumps(self.to_dict(), ensure_ascii=False, sort_keys=True, allow_nan=False, indent=1)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Read what `to_dict` gave.

        Raises:
            ConfigError: Another schema version, or keys that are missing or unknown.
        """
        if not isinstance(data, Mapping):
            raise ConfigError("decision is damaged", got=type(data).__name__, fix="run the gate again")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise ConfigError(
                "decision has another schema version",
                got=f"{data.get('schema_version')}, written by another version of the gate",
                allowed=str(SCHEMA_VERSION),
                fix="run the gate again: zenml pipeline run train_moon serves the training from its cache",
            )
        try:
            return cls(**{**data, "rules": tuple(_rule(row) for row in data["rules"])})
        except (KeyError, TypeError) as error:
            raise ConfigError("decision is damaged", got=str(error), fix="run the gate again") from None

    def headline(self) -> str:
        """The decision in one sentence."""
        failures, waived = self.failures, self.waived
        aside = f", {len(waived)} of them waived" if waived else ""
        if self.passed and waived:
            return f"PASS: {len(self.rules) - len(waived)} of {len(self.rules)} rules hold, {len(waived)} waived"
        if self.passed:
            return f"PASS: all {len(self.rules)} rules hold"
        missed = len(failures) + len(waived)
        return f"REFUSE: {missed} of {len(self.rules)} rules failed{aside}; first {failures[0].name}"

    def sorted_rules(self) -> list[RuleResult]:
        """Refusals first, then what was waived, then the rest; each by name."""
        order = ("NO", "WAIVED", "ok")
        return sorted(self.rules, key=lambda rule: (order.index(rule.verdict), rule.name))

    def as_text(self, *, width: int = 140) -> str:
        """A table for a terminal, refusals first."""
        table = Table(title=self.headline(), title_justify="left", title_style="bold")
        for column in ("", "rule", "value", "bound", "incumbent", "reason"):
            justify: Literal["left", "right"] = "right" if column in ("value", "bound", "incumbent") else "left"
            table.add_column(column, justify=justify, no_wrap=column != "reason")
        for rule in self.sorted_rules():
            numbers = (number(value) for value in (rule.value, rule.bound, rule.incumbent))
            table.add_row(rule.verdict, rule.name, *numbers, rule.sentence)
        out = io.StringIO()
        Console(file=out, width=width, color_system=None, legacy_windows=False, markup=False).print(table)
        return out.getvalue()


def _rule(row: Mapping[str, Any]) -> RuleResult:
    waiver = row.get("waiver") if isinstance(row, Mapping) else None
    return RuleResult(**{**row, "waiver": UsedWaiver(**waiver) if waiver is not None else None})


def number(value: float | None) -> str:
    """A number of a rule for a person; - where there is none."""
    if value is None:
        return "-"
    return str(int(value)) if value == int(value) and abs(value) > 1 else f"{value:.4f}"
