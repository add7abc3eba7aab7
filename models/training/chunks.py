"""One step of the training, whole or in chunks: the same loss and gradients, with the memory of one chunk.

In chunks the pictures are a stage of their own, since a picture stands in several sequences: what the tower (or the
projector) makes of them is held, the sequences read what is held, and the pictures' gradients flow back last.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from models.backbones import PictureFeatures
from models.batch import Batch
from models.moe import RouterStats
from models.training.bucketing import bucket
from models.training.data import TrainBatch, View
from models.training.grad_cache import Held, hold
from models.training.objective import Encoded, Objective

NUM_LENGTHS, MIN_ROWS = 4, 8
"""A view is encoded in so many groups of like length, none of fewer rows: small products waste more than padding."""

Scope = Callable[[], AbstractContextManager[object]]


@dataclass
class Step:
    """A loss, and how its gradients reach the parameters."""

    batch: TrainBatch
    loss: torch.Tensor
    report: dict[str, torch.Tensor]
    products: torch.Tensor
    """Vectors of the step's products, for the queue."""
    held: tuple[Held, ...] = ()
    """Second passes still to come, in the order in which they must run."""

    def backward(self, loss: torch.Tensor, no_sync: Scope | None = None) -> None:
        """Gradients of everything; whole or in chunks.

        Args:
            loss: The step's loss, scaled by whoever trains.
            no_sync: As in `Held.backward`.
        """
        loss.backward()
        for number, held in enumerate(self.held, start=1):
            # Only the very last pass may let a distributed wrapper reduce gradients.
            held.backward(no_sync if number == len(self.held) else None)


def run_step(objective: Objective, batch: TrainBatch, chunk_tokens: int | None) -> Step:
    """Forward pass of a step.

    Args:
        objective: Model and losses.
        batch: The step.
        chunk_tokens: Most tokens encoded at once, padding included; None encodes each view whole.

    Returns:
        The loss, to be differentiated with `Step.backward`.
    """
    if chunk_tokens is None:
        pictures = objective.pictures(batch)
        vectors = {name: _by_length(objective, view, pictures) for name, view in batch.views.items()}
        loss, report = objective.loss(batch, Encoded(vectors, objective.model.take_stats()))
        return Step(batch, loss, report, vectors[View.PRODUCTS].detach())
    return _in_chunks(objective, batch, chunk_tokens)


def _by_length(objective: Objective, view: Batch, pictures: PictureFeatures) -> torch.Tensor:
    """Vectors of a view whose rows of like length go together: what is computed for padding is computed for nothing."""
    lengths = view.mask_BL.sum(dim=1).tolist()
    plan = bucket(lengths, rows_per_chunk=max(MIN_ROWS, -(-len(lengths) // NUM_LENGTHS)))
    device = view.ids_BL.device
    parts = [objective.encode(view.rows(torch.tensor(rows, device=device)), pictures) for rows in plan.chunks]
    return plan.restore(torch.cat(parts))


def _in_chunks(objective: Objective, batch: TrainBatch, chunk_tokens: int) -> Step:
    model = objective.model
    shown = _hold_pictures(objective, batch, chunk_tokens)
    pictures = PictureFeatures(*_features(shown)) if shown is not None else objective.pictures(batch)

    def encode(chunk: Batch) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        vectors = objective.encode(chunk, pictures)
        return vectors, tuple(part for one in model.take_stats() for part in one.tensors())

    plans = {
        name: bucket(view.mask_BL.sum(dim=1).tolist(), tokens_per_chunk=chunk_tokens)
        for name, view in batch.views.items()
    }
    device = next(model.parameters()).device
    chunks = {
        str(name): [view.rows(torch.tensor(rows, device=device)) for rows in plans[name].chunks]
        for name, view in batch.views.items()
    }
    held = hold(chunks, encode)
    # Chunks are sorted by length; the loss wants the rows where the batch has them.
    vectors = {name: plan.restore(held.vectors[str(name)]) for name, plan in plans.items()}
    loss, report = objective.loss(batch, Encoded(vectors, RouterStats.of_tensors(held.sums)))
    later = (held,) if shown is None else (held, shown)
    return Step(batch, loss, report, vectors[View.PRODUCTS].detach(), later)


def _hold_pictures(objective: Objective, batch: TrainBatch, chunk_tokens: int) -> Held | None:
    """Every picture once; None where there is none."""
    backbone = objective.model.backbone
    num = len(batch.seen.pooled_NP) if batch.seen is not None else len(batch.pixels_NCHW)
    if not num:
        return None

    def encode(rows: slice) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        seen = (
            batch.seen.map(lambda one: one[rows]) if batch.seen is not None else backbone.see(batch.pixels_NCHW[rows])
        )
        made = backbone.project(seen)
        return (made.tokens_NKD, made.pooled_NP, *made.deep), ()

    with torch.no_grad():
        probe = backbone.see(batch.pixels_NCHW[:1]) if batch.seen is None else batch.seen
    each = max(1, chunk_tokens // (4 * probe.grid_NKV.shape[1]))
    return hold({"pictures": [slice(start, start + each) for start in range(0, num, each)]}, encode)


def _features(shown: Held) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
    tokens_NKD, pooled_NP, *deep = shown.tensors["pictures"]
    return tokens_NKD, pooled_NP, tuple(deep)
