"""What a training leaves behind besides the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainingRecord:
    """Figures of one training, ready for JSON."""

    digest: str
    """Of the model folder."""
    model_folder: str
    steps: int
    """Optimiser steps done in all."""
    resumed_from_step: int
    """0 when nothing was resumed."""
    seconds: float
    """Training time over all runs, without decoding and set-up."""
    samples_per_s: float
    """Pairs a second over the steps of this run."""
    num_trainable: int
    num_products: int
    """Train products with a pair."""
    num_pairs: dict[str, int]
    """By `source/kind`."""
    dropped: dict[str, int]
    final: dict[str, float]
    """Loss parts and measures of the last step."""
    score: float | None = None
    """Of the score function on the finished model."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Points of the curves; the first number of each is its step."""
    num_parameters: int = 0
    device: str = ""
    precision: str = ""
    num_processes: int = 1
    """That trained together."""
    shipped: str = ""
    """Which weights are in the model folder: the last, their moving average, or the best judged."""
    scores: list[list[float]] = field(default_factory=list)
    """Step and score of each judgement for the early stop."""
    lineage: dict[str, str] = field(default_factory=dict)
    """As in the model folder: commit, digests of data, code and published weights, the split."""
    costs: dict[str, float] = field(default_factory=dict)
    """Of one process and step: tokens, operations and bytes as estimated, and the most bytes it held."""
    expert_choices: list[dict[str, list[int]]] = field(default_factory=list)
    """A guided layer each: token type -> choices by routed expert, over all steps, runs and processes, whichever
    weights were shipped; types that were not routed are left out. Of a training that went on from a checkpoint without
    them: since that. See `models.moe.plain_load`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)
