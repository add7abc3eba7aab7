"""One step of the training, whole or in chunks: the same loss and gradients, with the memory of one chunk.

In chunks the pictures are a stage of their own, since a picture stands in several sequences: what the tower (or the
projector) makes of them is held, the sequences read what is held, and the pictures' gradients flow back last.

Several processes. Each takes the loss of its own pairs; the mean of their gradients is the gradient of the whole
batch (`models.negatives.gather`). Nothing here reduces gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from models.backbones import PictureFeatures, picture_layout
from models.batch import Batch, joined
from models.bucketing import Buckets, bucket
from models.moe import RouterStats, recording
from models.moe.recording import Fired
from models.negatives import num_ranks
from models.training.grad_cache import Held, hold
from models.training.objective import Encoded, Objective
from models.training.train_batch import TrainBatch, View

NUM_LENGTHS, LEAST_TOKENS = 6, 1024
"""A step is encoded in about so many groups of like length, none of fewer tokens: small products waste more than
padding."""
TOWER_TOKENS = 4
"""A tower works on about this many patches for each token that the decoder gets (Qwen merges 2 x 2)."""
MAX_DRIFT, MAX_DRIFT_BF16 = 1e-3, 3e-2
"""Most by which the two passes over a chunk may differ, relative to their largest number. Both run the same kernels on
the same numbers and differ where a kernel adds in no fixed order: by some roundings, 2^-24 each in float32 and 2^-9 in
bf16, which depth multiplies. The bounds leave room for 16,000 and 15 of them; dropout of a tenth is off by some 0.1."""


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
    drift_bound: float = math.inf
    """A `drift` above it is no rounding any more."""

    @property
    def drift(self) -> torch.Tensor:
        """By how much second passes differed from first ones, relative to the largest number held; a scalar.

        Zero before `backward` and where nothing is in chunks.
        """
        shares = [
            one.drift.float() / torch.stack([part.detach().abs().max() for part in _not_empty(one)]).max().float()
            for one in self.held
            if _not_empty(one)
        ]
        return torch.stack([share.to(self.loss.device) for share in shares]).max() if shares else torch.zeros(())

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of everything; whole or in chunks.

        Args:
            loss: The step's loss, scaled by whoever trains.
        """
        loss.backward()
        for held in self.held:
            held.backward()


def run_step(objective: Objective, batch: TrainBatch, chunk_tokens: int | None, sharded: bool = False) -> Step:
    """Forward pass of a step.

    Args:
        objective: Model and losses.
        batch: The step.
        chunk_tokens: Most tokens encoded at once, padding included; None encodes the whole batch in one graph.
        sharded: Parameters lie on several processes, which must therefore run the decoder equally often; not in
            chunks.

    Returns:
        The loss, to be differentiated with `Step.backward`.
    """
    if chunk_tokens is None and not sharded:
        return _at_once(objective, batch)
    plans = plans_of(batch, chunk_tokens)
    if chunk_tokens is not None:
        assert not sharded, "processes cut their batches into different numbers of chunks"
        return _in_chunks(objective, batch, plans, chunk_tokens)
    pictures = objective.pictures(batch)
    vectors: dict[View, torch.Tensor] = {}
    stats: list[RouterStats] = []
    gates_BZ: torch.Tensor | None = None
    idle = batch.weight_B.new_zeros(())
    for name in _views_anywhere(batch):
        if name not in batch.views:
            # Other processes encode this view now: without a row here they would wait for this one's share.
            idle = idle + 0.0 * objective.encode(_one_row(batch), pictures).sum()
            objective.model.take_stats()
            continue
        plan, view = plans[name], batch.views[name]
        with _recording(objective, name) as fired:
            parts = [objective.encode(_rows(view, rows), pictures) for rows in plan.chunks]
        vectors[name] = plan.restore(torch.cat(parts))
        gates_BZ = plan.restore(_gate_mass(fired, objective)) if fired else gates_BZ
        more = objective.model.take_stats()
        stats = [one + two for one, two in zip(stats, more, strict=True)] if stats else more
    loss, report = objective.loss(batch, Encoded(vectors, _share_of_all(stats), gates_BZ))
    return Step(batch, loss + idle, report, vectors[View.PRODUCTS].detach())


def plans_of(batch: TrainBatch, chunk_tokens: int | None) -> dict[View, Buckets]:
    """How the rows of each view are encoded: those of like length together, since padding is computed for nothing.

    Args:
        batch: The step.
        chunk_tokens: As in `run_step`; None, where parameters are sharded: every view whole.
    """
    lengths = {name: view.mask_BL.sum(dim=1).tolist() for name, view in batch.views.items()}
    return {name: bucket(own, tokens_per_chunk=chunk_tokens) for name, own in lengths.items()}


def plan_at_once(batch: TrainBatch) -> Buckets:
    """How the rows of all views together are encoded where memory does not matter."""
    lengths = [length for view in batch.views.values() for length in view.mask_BL.sum(dim=1).tolist()]
    return bucket(lengths, tokens_per_chunk=max(LEAST_TOKENS, -(-sum(lengths) // NUM_LENGTHS)))


def _at_once(objective: Objective, batch: TrainBatch) -> Step:
    """All views as one batch, whose rows of like length go together: few large products, little padding."""
    pictures = objective.pictures(batch)
    plan, rows = plan_at_once(batch), joined(list(batch.views.values()))
    with _recording(objective) as fired:
        parts = [objective.encode(_rows(rows, some), pictures) for some in plan.chunks]
    counts = [len(view) for view in batch.views.values()]
    vectors = dict(zip(batch.views, plan.restore(torch.cat(parts)).split(counts), strict=True))
    gates_BZ = None
    if fired:
        by_view = plan.restore(_gate_mass(fired, objective)).split(counts)
        gates_BZ = dict(zip(batch.views, by_view, strict=True))[View.QUERIES]
    stats = _share_of_all(objective.model.take_stats())
    loss, report = objective.loss(batch, Encoded(vectors, stats, gates_BZ))
    return Step(batch, loss, report, vectors[View.PRODUCTS].detach())


def _in_chunks(objective: Objective, batch: TrainBatch, plans: dict[View, Buckets], chunk_tokens: int) -> Step:
    model = objective.model
    shown = _hold_pictures(objective, batch, chunk_tokens)
    pictures = PictureFeatures(*_features(shown)) if shown is not None else objective.pictures(batch)
    gates: list[torch.Tensor] = []

    def encode(chunk: tuple[View, tuple[int, ...]]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        name, rows = chunk
        with _recording(objective, name) as fired:
            vectors = objective.encode(_rows(batch.views[name], rows), pictures)
        if fired and not torch.is_grad_enabled():
            gates.append(_gate_mass(fired, objective))
        return vectors, tuple(part for one in model.take_stats() for part in one.tensors())

    held = hold({str(name): [(name, rows) for rows in plan.chunks] for name, plan in plans.items()}, encode)
    # Chunks are sorted by length; the loss wants the rows where the batch has them.
    vectors = {name: plan.restore(held.vectors[str(name)]) for name, plan in plans.items()}
    stats = _share_of_all(RouterStats.of_tensors(held.sums))
    gates_BZ = plans[View.QUERIES].restore(torch.cat(gates)) if gates else None
    loss, report = objective.loss(batch, Encoded(vectors, stats, gates_BZ))
    later = (held,) if shown is None else (held, shown)
    is_bf16 = torch.is_autocast_enabled(loss.device.type) or next(model.parameters()).dtype is torch.bfloat16
    bound = MAX_DRIFT_BF16 if is_bf16 else MAX_DRIFT
    return Step(batch, loss, report, vectors[View.PRODUCTS].detach(), later, bound)


def _hold_pictures(objective: Objective, batch: TrainBatch, chunk_tokens: int) -> Held | None:
    """Every picture once; None where there is none."""
    model = objective.model
    num = len(batch.seen.pooled_NP) if batch.seen is not None else len(batch.pixels_NCHW)
    if not num:
        return None

    def encode(rows: slice) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        seen = batch.seen.map(lambda one: one[rows]) if batch.seen is not None else model.see(batch.pixels_NCHW[rows])
        made = model.project(seen)
        return (made.tokens_NKD, made.pooled_NP, *made.deep), ()

    # Not from the sequences: a dual encoder's hold no token of a picture.
    tokens = picture_layout(objective.model_config, model.backbone.spec()).num_tokens
    each = max(1, chunk_tokens // (TOWER_TOKENS * tokens))
    return hold({"pictures": [slice(start, start + each) for start in range(0, num, each)]}, encode)


def _features(shown: Held) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
    tokens_NKD, pooled_NP, *deep = shown.tensors["pictures"]
    return tokens_NKD, pooled_NP, tuple(deep)


def _share_of_all(stats: list[RouterStats]) -> list[RouterStats]:
    """This process's share of the statistics of all.

    Choices and numbers of tokens become those of all processes, probabilities stay this one's, times their number:
    the losses are linear in the probabilities, so the mean over processes is the loss of the whole batch, and so is
    the mean of the gradients.
    """
    ranks = num_ranks()
    if ranks == 1 or not stats:
        return stats
    counts = [torch.cat([one.count_E, one.num_tokens.reshape(1)]).detach() for one in stats]
    lengths = [len(one) for one in counts]
    everyone = torch.cat(counts)
    distributed.all_reduce(everyone)
    return [
        RouterStats(one.prob_sum_E * ranks, of_all[:-1], one.z_sum * ranks, of_all[-1])
        for one, of_all in zip(stats, everyone.split(lengths), strict=True)
    ]


@contextmanager
def _recording(objective: Objective, name: View = View.QUERIES) -> Iterator[list[list[Fired]]]:
    """What fires in each layer where the loss wants to know it; else nothing."""
    wanted = objective.modality is not None and name == View.QUERIES
    with recording(objective.model.moes if wanted else []) as fired:
        yield fired


def _gate_mass(fired: list[list[Fired]], objective: Objective) -> torch.Tensor:
    """Mean gate of each expert over the routed tokens of each row, over layers; (B, Z), detached.

    Args:
        fired: By layer, and in it by pass, whose rows are laid end to end.
        objective: Knows the number of experts.
    """
    num = objective.model_config.moe.num_experts
    layers = []
    for passes in fired:
        rows = []
        for one in passes:
            gate_BN = one.gate_BLK.flatten(1)
            # Where nothing was routed the gate is 0, so it does not matter which expert it is added to.
            expert_BN = one.expert_BLK.flatten(1).clamp(min=0)
            routed_B1 = (one.expert_BLK[..., 0] >= 0).sum(dim=1, keepdim=True).clamp(min=1)
            rows.append(gate_BN.new_zeros((len(gate_BN), num)).scatter_add(1, expert_BN, gate_BN) / routed_B1)
        layers.append(torch.cat(rows))
    return torch.stack(layers).mean(dim=0)


def _not_empty(held: Held) -> list[torch.Tensor]:
    return [part for parts in held.tensors.values() for part in parts if part.numel()]


def _rows(view: Batch, rows: tuple[int, ...]) -> Batch:
    return view.rows(torch.tensor(rows, device=view.ids_BL.device))


def _views_anywhere(batch: TrainBatch) -> list[View]:
    """Views that any process has in this step, in their order."""
    here = torch.tensor([name in batch.views for name in View], dtype=torch.int32, device=batch.weight_B.device)
    distributed.all_reduce(here, op=distributed.ReduceOp.MAX)
    return [name for name, there in zip(View, here.tolist(), strict=True) if there]


def _one_row(batch: TrainBatch) -> Batch:
    """Some sequence, of which only the computation counts."""
    return batch.views[View.PRODUCTS].rows(torch.zeros(1, dtype=torch.long, device=batch.weight_B.device))
