"""What steps hand to each other besides catalogues, regions and models: small records, kept as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from validation.benchmark.record import BenchmarkRecord
from validation.gate.decision import Decision
from validation.statistics import Outcome, outcomes_from_dict

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Record:
    """A record whose fields are JSON already; others override the two methods."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk: safetensors, tokenizer, configuration, lineage."""

    path: str
    digest: str


@dataclass(frozen=True)
class IndexFolder:
    """A vector index on disk."""

    path: str
    digest: str


@dataclass(frozen=True)
class FrozenSet:
    """A frozen evaluation set on disk."""

    path: str
    digest: str


@dataclass(frozen=True)
class Files:
    """A folder of files on disk: scenes, a detector, pictures."""

    path: str
    digest: str


@dataclass(frozen=True)
class DetectorJudgement(Record):
    """Scores of a detector and of saliency on each kind of scenes, `DetectorScores.to_dict()`, in step."""

    detector: list[dict[str, Any]]
    saliency: list[dict[str, Any]]


@dataclass(frozen=True)
class TrainingRun(Record):
    """What training did and the curves it left."""

    record: dict[str, Any]
    """`TrainingRecord.to_dict()`: steps, seconds, samples/s, final losses, digest."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """One row a logged step: `step` and the metrics logged there."""


@dataclass(frozen=True)
class Benchmark(Record):
    """Scores of the candidate and of everything that stands beside it, on one evaluation set."""

    candidate: BenchmarkRecord
    rivals: dict[str, BenchmarkRecord]
    examples: list[dict[str, Any]] = field(default_factory=list)
    """A few queries with what the candidate found, see `steps.showcase`."""
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Encoder -> its value of each metric for every item, `outcomes_to_dict()`: what paired rules need."""

    @property
    def records(self) -> list[BenchmarkRecord]:
        return [self.candidate, *self.rivals.values()]

    def outcomes_of(self, name: str) -> dict[str, Outcome] | None:
        """An encoder's values item by item; None where they were not kept."""
        return outcomes_from_dict(self.outcomes[name]) if name in self.outcomes else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "candidate": self.candidate.to_dict(),
            "rivals": {name: record.to_dict() for name, record in self.rivals.items()},
            "examples": self.examples,
            "outcomes": self.outcomes,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        rivals = {name: BenchmarkRecord.from_dict(row) for name, row in data["rivals"].items()}
        candidate = BenchmarkRecord.from_dict(data["candidate"])
        return cls(candidate, rivals, data["examples"], data.get("outcomes", {}))


@dataclass(frozen=True)
class GateResult(Record):
    """The gate's decision, as it is printed and as data."""

    passed: bool
    text: str
    decision: dict[str, Any]
    champion_version: str | None = None
    champion_digest: str | None = None
    champion: dict[str, Any] | None = None
    """The champion's benchmark record on the same evaluation set."""
    champion_outcomes: dict[str, Any] | None = None
    """Its value of each metric for every item, `outcomes_to_dict()`; None where they were not kept."""

    def outcomes_of_champion(self) -> dict[str, Outcome] | None:
        """The champion's values item by item; None where they were not kept."""
        return outcomes_from_dict(self.champion_outcomes) if self.champion_outcomes is not None else None

    def to_decision(self) -> Decision:
        """The room's own type again.

        Raises:
            ConfigError: It was written by another version of the gate.
        """
        return Decision.from_dict(self.decision)


@dataclass(frozen=True)
class Registration(Record):
    """The registry's answer. A refusal is a value: the DAG is static, and later steps pass it on."""

    refused: bool
    reason: str = ""
    name: str = ""
    version: str = ""
    model_digest: str = ""
    is_new: bool = False
    """False when a version with the same model digest stood there already."""


@dataclass(frozen=True)
class BentoRecord(Record):
    """The Bento of exactly one registered version."""

    refused: bool
    reason: str = ""
    tag: str = ""
    path: str = ""
    model_digest: str = ""


@dataclass(frozen=True)
class ConfigRecord(Record):
    """The resolved configuration tree of a run."""

    config: dict[str, Any]


@dataclass(frozen=True)
class Parity(Record):
    """How far the served vectors lie from the offline ones, and which version that was."""

    version: str
    tag: str
    min_cosine: float
    max_abs_diff: float
    num_vectors: int


@dataclass(frozen=True)
class AliasMove(Record):
    """Where an alias stood and where it stands now."""

    alias: str
    version: str
    previous: str | None
    moved: bool
