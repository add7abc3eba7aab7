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

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RuleResult:
    """One rule and how it came out."""

    name: str
    passed: bool
    reason: str
    """A sentence for a person."""
    value: float | None = None
    """The candidate's number; None where there is none."""
    bound: float | None = None
    """What the number had to reach."""
    incumbent: float | None = None
    """The rival's or champion's number that the bound comes from."""


@dataclass(frozen=True)
class Decision:
    """Pass or refuse. It passes when there is at least one rule and every rule passed."""

    passed: bool
    rules: tuple[RuleResult, ...]
    candidate_digest: str
    champion_digest: str | None
    eval_set_digest: str
    main_score: float | None
    champion_main_score: float | None
    policy_digest: str
    schema_version: int = SCHEMA_VERSION

    @property
    def failures(self) -> tuple[RuleResult, ...]:
        """The rules that refuse."""
        return tuple(rule for rule in self.rules if not rule.passed)

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
        if data.get("schema_version") != SCHEMA_VERSION:
            raise ConfigError(
                "decision has another schema version",
                got=str(data.get("schema_version")),
                allowed=str(SCHEMA_VERSION),
                fix="run the gate again",
            )
        try:
            return cls(**{**data, "rules": tuple(RuleResult(**rule) for rule in data["rules"])})
        except (KeyError, TypeError) as error:
            raise ConfigError("decision is damaged", got=str(error), fix="run the gate again") from None

    def headline(self) -> str:
        """The decision in one sentence."""
        failures = self.failures
        if self.passed:
            return f"PASS: all {len(self.rules)} rules hold"
        return f"REFUSE: {len(failures)} of {len(self.rules)} rules failed; first {failures[0].name}"

    def as_text(self, *, width: int = 140) -> str:
        """A table for a terminal, refusals first."""
        table = Table(title=self.headline(), title_justify="left", title_style="bold")
        for column in ("", "rule", "value", "bound", "incumbent", "reason"):
            justify: Literal["left", "right"] = "right" if column in ("value", "bound", "incumbent") else "left"
            table.add_column(column, justify=justify, no_wrap=column != "reason")
        for rule in sorted(self.rules, key=lambda rule: rule.passed):
            numbers = (_number(value) for value in (rule.value, rule.bound, rule.incumbent))
            table.add_row("ok" if rule.passed else "NO", rule.name, *numbers, rule.reason)
        out = io.StringIO()
        Console(file=out, width=width, color_system=None, legacy_windows=False, markup=False).print(table)
        return out.getvalue()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(int(value)) if value == int(value) and abs(value) > 1 else f"{value:.4f}"
