"""What a judgement leaves behind: plain numbers with all that is needed to doubt or repeat them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from validation.benchmark.confusion import Confusions
from validation.errors import BenchmarkError

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Score:
    """One number and how far to trust it."""

    value: float
    """0 to 1, higher is better; `mean_rank` from 1, lower is better."""
    low: float
    high: float
    """Ends of the interval, bootstrap clustered by group."""
    n: int
    """Queries or products judged."""
    pool: int
    """What the right answer had to be picked from: gallery products, or labels."""
    num_groups: int
    """Independent groups among the n."""


@dataclass(frozen=True)
class TaskInfo:
    """What was asked, the same for every encoder judged on the set."""

    n: int
    pool: int
    needs: tuple[str, ...]
    """Modalities an encoder must read to be asked."""
    hide: tuple[str, ...]
    """Fields the encoder was not given."""
    query_source: str = ""
    """purchases, other_photo, description or other_photo + description; empty for label tasks."""
    note: str = ""


@dataclass(frozen=True)
class Cost:
    """What an encoder costs beside time; None where it does not say."""

    num_parameters: int | None = None
    model_bytes: int | None = None
    """Of its weights in memory."""
    peak_memory_mib: float | None = None
    """Most resident memory of the whole judging process, MiB."""


@dataclass(frozen=True)
class BenchmarkRecord:
    """An encoder's scores on one evaluation set."""

    encoder: str
    encoder_digest: str
    dims: int
    eval_set_digest: str
    dataset_digest: str
    side: str
    num_gallery: int
    scores: dict[str, Score]
    """`task/metric` -> score."""
    slices: dict[str, Score] = field(default_factory=dict)
    """`task/metric[kind=name]` -> score of a part of the same items."""
    tasks: dict[str, TaskInfo] = field(default_factory=dict)
    not_applicable: dict[str, str] = field(default_factory=dict)
    """`task` or `task/metric` -> why there is no number. Never a silent zero."""
    notes: tuple[str, ...] = ()
    """What the evaluation set dropped or could not ask."""
    confusions: tuple[Confusions, ...] = ()
    """Which leaf category was answered for which, with the title shown and hidden."""
    timings: dict[str, float] = field(default_factory=dict)
    """product_ms, query_ms, label_ms: milliseconds an item; total_s."""
    num_parameters: int | None = None
    model_bytes: int | None = None
    """Of the encoder's weights; None where it has none or does not say."""
    peak_memory_mib: float | None = None
    """Most resident memory of the whole judging process, MiB."""
    confidence: float = 0.95
    """Coverage of the scores' intervals."""
    harness_digest: str = ""
    """SHA-256 of the code that judged: scores of two harnesses are not compared."""
    commit: str = ""
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    def to_json(self) -> str:
        """JSON with sorted keys. A score that is not finite is an error here: JSON has no word for it."""
        return json.dumps(self.to_dict(), ensure_ascii=False, sort_keys=True, allow_nan=False, indent=1)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BenchmarkRecord:
        """Read what `to_dict` gave.

        Raises:
            BenchmarkError: Another schema version, or keys that are missing or unknown.
        """
        if not isinstance(data, Mapping):
            raise BenchmarkError("benchmark record is damaged", got=type(data).__name__, fix="score the model again")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise BenchmarkError(
                "benchmark record has another schema version",
                got=str(data.get("schema_version")),
                allowed=str(SCHEMA_VERSION),
                fix="score the model again",
            )
        try:
            rows = dict(data)
            rows["scores"] = {key: Score(**value) for key, value in data["scores"].items()}
            rows["slices"] = {key: Score(**value) for key, value in data["slices"].items()}
            rows["tasks"] = {
                key: TaskInfo(**{**value, "needs": tuple(value["needs"]), "hide": tuple(value["hide"])})
                for key, value in data["tasks"].items()
            }
            rows["notes"] = tuple(data["notes"])
            rows["confusions"] = tuple(Confusions.from_dict(row) for row in data.get("confusions", ()))
            return cls(**rows)
        except (KeyError, TypeError, AttributeError) as error:
            raise BenchmarkError("benchmark record is damaged", got=str(error), fix="score the model again") from None

    @classmethod
    def from_json(cls, text: str) -> BenchmarkRecord:
        """Read what `to_json` gave."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise BenchmarkError("benchmark record is not JSON", got=str(error)) from None
        return cls.from_dict(data)
