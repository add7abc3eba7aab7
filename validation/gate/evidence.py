"""What rules are held against: records, what became of every item, and how to speak of what is not there."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from validation.benchmark.metrics import lower_is_better
from validation.benchmark.record import BenchmarkRecord, Score
from validation.gate.config import GatePolicy
from validation.gate.decision import RuleResult
from validation.statistics import Outcome


class UnknownError(Exception):
    """Something that a rule needs cannot be known. Never leaves the gate: it becomes a rule that refuses."""


@dataclass(frozen=True)
class Scored:
    """An encoder's record and, where they were kept, its values item by item."""

    record: BenchmarkRecord
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    who: str = ""
    """How reasons name it; empty for the candidate."""

    def score(self, key: str) -> Score:
        """Score of a metric, or of a slice of one.

        Raises:
            UnknownError: There is none, or of a rival or champion one that no such metric can have.
        """
        score = self.record.scores.get(key) or self.record.slices.get(key)
        if score is None:
            raise UnknownError(f"{self.who}: {self.missing(key)}" if self.who else self.missing(key))
        # The candidate's own are judged by a rule of their own, whoever asks for them.
        if self.who and math.isfinite(score.value) and not is_sound(key, score):
            raise UnknownError(f"{self.who}: {key} cannot be {score.value:.4g}: score it again")
        return score

    def missing(self, key: str) -> str:
        """Why there is no number for `key`, a task or a metric."""
        record = self.record
        why = record.not_applicable.get(key) or record.not_applicable.get(key.partition("/")[0])
        if why:
            return f"{key} has no score: {why}"
        close = get_close_matches(key, [*record.scores, *record.tasks], n=1)
        return f"{key} has no score" + (f"; did you mean {close[0]}?" if close else "")

    def not_comparable(self, other: BenchmarkRecord) -> str:
        """Why `other` cannot be compared with this; empty when it can."""
        own = self.record
        if own.eval_set_digest != other.eval_set_digest:
            return f"was scored on evaluation set {other.eval_set_digest[:12]}, not {own.eval_set_digest[:12]}"
        if own.harness_digest != other.harness_digest:
            return "was scored by another version of the benchmark's code"
        if own.confidence != other.confidence:
            return f"has intervals of {other.confidence:.0%}, not {own.confidence:.0%}"
        return ""


def is_sound(key: str, score: Score) -> bool:
    """Whether a metric can have this score."""
    in_range = score.value >= 1.0 if lower_is_better(key) else 0.0 <= score.value <= 1.0
    return in_range and score.low <= score.high and score.n >= 1


def unknown(
    name: str, reason: str, value: float | None = None, bound: float | None = None, incumbent: float | None = None
) -> RuleResult:
    """A rule that refuses because something is not known."""
    return RuleResult(name, False, reason, value, bound, incumbent, known=False)


def finite(value: float) -> float | None:
    """The value, None where it is no number."""
    return value if math.isfinite(value) else None


def gap(value: float, key: str) -> str:
    """A difference of two values of a metric, in the unit people say it in."""
    return f"{value:.1f} ranks" if lower_is_better(key) else f"{100 * value:.1f} points"


def digest_of(policy: GatePolicy) -> str:
    """SHA-256 of a policy's content."""
    content: dict[str, Any] = policy.model_dump(mode="json")
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
