"""The estimate of a training that is about to start, from its first batch."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from models.batch import joined
from models.config import ModelConfig, TrainConfig
from models.devices import free_bytes, product_rate
from models.moe.upcycle import chosen_layers
from models.training.chunks import plan_at_once, plans_of
from models.training.data import TrainSet
from models.training.estimate import GIB, Estimate, check_experts, check_fits
from models.training.frozen import keeps_features
from models.training.objective import Objective
from models.training.workload import Workload, estimate_training

_log = logging.getLogger(__name__)


def check_experts_fit(model: ModelConfig, backbone: Any | None, device: torch.device, num_processes: int = 1) -> None:
    """Refuse more experts than there is memory for in one process, before any is made.

    Args:
        model: The model's section.
        backbone: With its weights; None for `nano`, whose sizes the section tells.
        device: Where the experts will learn.
        num_processes: That train on this machine.

    Raises:
        ModelError: They do not fit, or a layer is named that the decoder has not.
    """
    if not model.moe.layers or model.moe.kind == "dense":
        return
    hidden, inner, num_layers = model.nano.hidden_size, model.nano.ffn_size, model.nano.num_layers
    if backbone is not None:
        hidden, num_layers = backbone.hidden_size, len(backbone.decoder_layers())
    chosen = chosen_layers(model.moe, num_layers)
    if backbone is not None:
        ffns = [getattr(backbone.decoder_layers()[index], backbone.ffn_name) for index in chosen]
        linear = [one for ffn in ffns for one in ffn.modules() if isinstance(one, nn.Linear)]
        # None in an FFN that is a mixture of experts itself: low-rank experts do not ask, full ones are refused there.
        inner = max((max(one.in_features, one.out_features) for one in linear), default=0)
    available = _free_for_one(device, num_processes)
    check_experts(model.moe, hidden, inner, len(chosen), available, _named(device))


def estimated(
    objective: Objective,
    dataset: TrainSet,
    train: TrainConfig,
    step: int,
    device: torch.device,
    precision: str,
    lowered: Iterable[torch.Tensor] = (),
) -> Estimate:
    """What the training will cost, were all its batches as large as that of `step`; no photograph is decoded for it.

    Args:
        objective: Before it is moved or sharded.
        dataset: Of the training.
        train: How.
        step: The first to come.
        device: Where.
        precision: `fp32` or `bf16`.
        lowered: Frozen weights that will be rounded to bf16 before the first step.
    """
    sharded = train.strategy == "fsdp" and dataset.ranks.world > 1
    number = min(step, train.steps - 1) * train.accumulate_batches
    batch = dataset.outline(number, with_pixels=not keeps_features(objective.model, train))
    in_model = {id(one) for one in objective.model.parameters()}
    if train.chunk_tokens is None and not sharded:
        views, plans = {"all": joined(list(batch.views.values()))}, {"all": plan_at_once(batch)}
    else:
        views = {str(name): view for name, view in batch.views.items()}
        plans = {str(name): plan for name, plan in plans_of(batch, train.chunk_tokens).items()}
    work = Workload(
        views=views,
        plans=plans,
        num_pictures=len(batch.pixels_NCHW),
        picture_px=dataset.processor.layout.side_px,
        pairs=len(batch.product_ids),
        steps=train.steps,
        batches=train.accumulate_batches,
        precision=precision,
        chunked=train.chunk_tokens is not None,
        checkpointing=train.gradient_checkpointing,
        ema=train.ema_decay is not None,
        shards=dataset.ranks.world if sharded else 1,
        lowered=frozenset(id(one) for one in lowered),
    )
    losses = [one for one in objective.parameters() if id(one) not in in_model]
    return estimate_training(objective.model, losses, work, product_rate(device, precision))


def available_bytes(estimate: Estimate, train: TrainConfig, device: torch.device) -> int:
    """Memory for one process, its parameters included, wherever those lie already."""
    free = _free_for_one(device, train.num_processes)
    return free if device.type == "cuda" else free + estimate.memory.parameters + estimate.memory.freed


def check_memory(estimate: Estimate, train: TrainConfig, device: torch.device) -> None:
    """Refuse what cannot fit, and warn of what may not.

    Raises:
        ModelError: Parameters, gradients and optimiser alone do not fit.
    """
    available = available_bytes(estimate, train, device)
    check_fits(estimate, available, _named(device))
    if estimate.memory.total > available:
        _log.warning(
            "the training may not fit: %.2f GiB with activations, %.2f GiB free; train.chunk_tokens and "
            "train.gradient_checkpointing lower it",
            estimate.memory.total / GIB,
            available / GIB,
        )


def costs(estimate: Estimate, peak_bytes: int) -> dict[str, float]:
    """For the record: of one process and step, estimated, and the memory that it really took."""
    return {
        "tokens_per_step": estimate.batches * estimate.tokens,
        "padded_tokens_per_step": estimate.batches * estimate.padded_tokens,
        "flops_per_step": estimate.flops,
        "estimated_bytes": estimate.memory.total,
        "peak_bytes": peak_bytes,
    }


def _free_for_one(device: torch.device, num_processes: int) -> int:
    """Bytes still free for each of this machine's processes: a GPU is one's own, memory is everybody's."""
    return free_bytes(device) if device.type == "cuda" else free_bytes(device) // num_processes


def _named(device: torch.device) -> str:
    return "the GPU" if device.type == "cuda" else "memory"
