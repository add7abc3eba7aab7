"""What a person is told before a training starts."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from catalog import Side, Splits
from models.config import TrainConfig
from models.pairs import PairTable
from models.training.cuts import cut_line
from models.training.prepare import Prepared
from models.training.without_effect import without_effect

_log = logging.getLogger(__name__)


def announce(
    prepared: Prepared,
    splits: Splits,
    device: tuple[torch.device, str],
    precision: tuple[str, str],
    is_judged: bool,
) -> None:
    """Device and number format with their reasons, sizes, batch arithmetic, and what was left out.

    Args:
        prepared: What the training stands on.
        splits: Sides of products and queries.
        device: With the reason for it.
        precision: With the reason for it.
        is_judged: There is a score to stop on.
    """
    dataset, table, processor = prepared.dataset, prepared.table, prepared.processor
    train, world = dataset.config, dataset.ranks.world
    parameters = sum(parameter.numel() for parameter in prepared.objective.model.parameters())
    vision = sum(parameter.numel() for parameter in prepared.objective.model.backbone.vision_parameters())
    _log.info("device %s (%s), %s (%s)", *device, *precision)
    _log.info(
        "%s parameters, %s of them vision; a picture of %d px is %d tokens",
        f"{parameters:,}",
        f"{vision:,}",
        processor.layout.side_px,
        processor.layout.num_tokens,
    )
    for line in prepared.report.lines():
        _log.info(line)
    _log.info(batch_arithmetic(prepared))
    dropped: dict[str, Any] = {name: count for name, count in (dict(table.dropped) | splits.dropped).items() if count}
    without = len(splits.product_ids(Side.TRAIN)) - len(dataset.products)
    if without:
        dropped["train products without a pair"] = without
    _log.info("left out: %s", ", ".join(f"{name} {count}" for name, count in dropped.items()) or "nothing")
    asked = [pair.text for pair in table.pairs() if pair.text]
    labels = [text for field in dataset.fields for text in field.texts]
    _log.info(cut_line(processor, list(dataset.products.values()), asked, labels))
    kinds = {pair.kind for pair in table.pairs()}
    for kind, share in dataset.mix.items():
        if share and kind not in kinds:
            _log.warning("the query mix asks for %s queries and there are none", kind)
    say_whose_weights_count(table, train)
    for line in without_effect(processor.config, train):
        _log.warning(line)
    if train.modality.enabled and prepared.objective.modality is None:
        _log.warning("train.modality has no effect: the model has no guided experts (model.moe.layers, model.moe.kind)")
    if train.hard_negatives_per_query and not any(dataset.sampler.category_of.values()):
        _log.warning("train.hard_negatives_per_query has no effect: no product of the training has a category")
    if train.strategy != "auto" and world == 1:
        _log.warning("train.strategy %s has no effect: one process trains", train.strategy)
    if train.stop.eval_every_steps is not None and not is_judged:
        _log.warning("train.stop has no effect: there is no score to stop on")
    if train.chunk_tokens is not None and _follows_batches(prepared.objective):
        _log.warning("train.chunk_tokens: batch norms that learn see a chunk, not the batch; freeze them to be exact")


def batch_arithmetic(prepared: Prepared) -> str:
    """Steps, pairs, processes and epochs, in one line."""
    dataset, sampler = prepared.dataset, prepared.dataset.sampler
    world, steps, batches = dataset.ranks.world, dataset.config.steps, dataset.config.accumulate_batches
    each = sampler.rank_batch_size(world)
    whole = each * world
    noun = "pairs" if dataset.config.query_views == "drawn" else "products, each asked for by all its kinds of query"
    batch = f"{whole} {noun}" + (f" ({world} processes x {each})" if world > 1 else "")
    if batches > 1:
        batch = f"{batches} batches x {batch}"
    counts = ", ".join(f"{name} {count}" for name, count in prepared.table.counts().items())
    others = ""
    if world > 1:
        others = f", {whole - 1 if dataset.config.negatives.spatial else each - 1} others in the batch of each"
    return (
        f"{steps} steps x {batch} = {steps * batches * whole:,} {noun.partition(',')[0]}{others}, "
        f"{steps * batches / sampler.steps_per_epoch(world):.1f} times over {len(dataset.products)} products; "
        f"pairs to draw from: {counts}"
    )


def say_whose_weights_count(table: PairTable, train: TrainConfig) -> None:
    """One line where rows bring a weight of their own and the signals decide."""
    weighted = [pair for pair in table.pairs() if pair.weight != 1.0]
    if train.signals is None or not weighted:
        return
    weights = train.signals.model_dump()
    others = sum(pair.weight != weights[pair.signal] for pair in weighted)
    _log.log(
        # Sources often write the signal's usual weight into the row; then nothing is lost.
        logging.WARNING if others else logging.INFO,
        "train.signals decides what a query counts; pairs whose own weight is not used: %s, of these weighed otherwise "
        "by their signal: %s; leave train.signals empty (null) to use the rows' own",
        f"{len(weighted):,}",
        f"{others:,}",
    )


def _follows_batches(root: nn.Module) -> bool:
    """Whether a norm with running statistics learns."""
    return any(
        isinstance(getattr(one, "running_mean", None), torch.Tensor)
        and any(parameter.requires_grad for parameter in one.parameters(recurse=False))
        for one in root.modules()
    )
