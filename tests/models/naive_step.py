"""The loss of a step without buckets, chunks or joined views: view after view, each whole."""

from __future__ import annotations

import torch

from models.training.objective import Encoded, Objective
from models.training.train_batch import TrainBatch


def naive_step(objective: Objective, batch: TrainBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss, and its parts and measures by name."""
    pictures = objective.pictures(batch)
    vectors = {name: objective.encode(view, pictures) for name, view in batch.views.items()}
    return objective.loss(batch, Encoded(vectors, objective.model.take_stats()))
