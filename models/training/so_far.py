"""What the batches of one update have told so far; with gradients accumulated there are several."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from models.training.chunks import Step
from models.training.ranks import mean_by_name


@dataclass
class SoFar:
    """Of the update that is being made."""

    figures: list[dict[str, float]] = field(default_factory=list)
    """By batch: parts of the loss and measures."""
    product_ids: list[str] = field(default_factory=list)
    """Of all batches."""
    drift: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    """The largest of any batch, see `Step.drift`."""
    drift_bound: float = math.inf

    @property
    def report(self) -> dict[str, float]:
        """Each figure's mean over the batches that have it."""
        return mean_by_name(self.figures)

    def add(self, step: Step) -> None:
        """Take in a batch whose backward pass is done."""
        self.product_ids += step.batch.product_ids
        self.drift = torch.maximum(self.drift.to(step.drift.device), step.drift)
        self.drift_bound = step.drift_bound
