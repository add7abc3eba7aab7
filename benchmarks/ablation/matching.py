"""Trainable parameters: counted on the model as a training would find it, and made equal for rivals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.ablation.protocol import Setup
from catalog import Catalog, ModelError, Photo, Product, ProductItem, QueryItem, Splits
from models.backbones import load_backbone, picture_layout
from models.config import ModelConfig
from models.moon import MoonModel
from models.processor import Processor
from models.tokenizer import catalog_texts, train_tokenizer
from models.training.objective import Objective
from models.training.parameters import add_lora, choose_trainable

SMALLEST = ModelConfig.model_fields["late_hidden_size"].metadata[0].ge
_PROBES = (64, 128)


@dataclass(frozen=True)
class Count:
    """Parameters that learn."""

    trainable: int
    """And reach an embedding."""
    idle: int
    """And do not: a projector of pictures into a decoder that is shown none, say."""


@dataclass(frozen=True)
class Match:
    """A rival beside full."""

    full: Count
    own: Count
    late_hidden_size: int | None = None
    """Of the rival, where it was fitted."""

    @property
    def distance_frac(self) -> float:
        return abs(self.own.trainable - self.full.trainable) / self.full.trainable


def fit_late_hidden_size(count: Callable[[int], int], target: int, tolerance_frac: float) -> int:
    """The width of the rival's image map that brings its trainable parameters to `target`.

    Args:
        count: Trainable parameters with a given width; they grow linearly with it.
        target: Of full.
        tolerance_frac: Largest distance accepted.

    Raises:
        ModelError: No width does: the rest of the rival is too large already.
    """
    low, high = (count(width) for width in _PROBES)
    slope = (high - low) / (_PROBES[1] - _PROBES[0])
    width = round((target - low) / slope + _PROBES[0]) if slope > 0 else 0
    width = max(width, SMALLEST)
    own = count(width)
    if abs(own - target) > tolerance_frac * target:
        raise ModelError(
            "the dual encoder cannot be given as many trainable parameters as full",
            where="model.late_hidden_size",
            got=f"{own:,} at {width}",
            allowed=f"{target:,} within {tolerance_frac:.0%}",
            fix="make the rest of the dual encoder smaller or larger: LoRA rank, expert rank, embedding_dims",
        )
    return width


def check_match(match: Match, arm: str, tolerance_frac: float) -> Match:
    """The match itself, when it is one.

    Raises:
        ModelError: Too far apart: the arm would measure parameters, not the part that it lacks.
    """
    if match.distance_frac > tolerance_frac:
        raise ModelError(
            f"{arm} has not as many trainable parameters as full",
            got=f"{match.own.trainable:,}",
            allowed=f"{match.full.trainable:,} within {tolerance_frac:.0%}",
            fix="see that what stands in the part's place learns: train.parameters.unfreeze",
        )
    return match


def count_parameters(setup: Setup, catalog: Catalog, splits: Splits) -> Count:
    """Parameters that learn in a training with this configuration, without decoding a photograph.

    Raises:
        ModelError: Weights are not there, or a pattern of the training's section matches nothing.
    """
    model, train = setup.model, setup.train
    loaded = load_backbone(model)
    tokenizer = loaded[1] if loaded else train_tokenizer(catalog_texts(catalog, splits), model.nano.vocab_size)
    assert tokenizer is not None
    moon = MoonModel.seeded(model, tokenizer.get_vocab_size(), train.seed, loaded[0] if loaded else None)
    if train.parameters.train == "lora":
        add_lora(moon.backbone, train.parameters.lora)  # type: ignore[arg-type]
    objective = Objective(moon, model, train)
    choose_trainable(
        objective,
        train.parameters,
        backbone=moon.backbone,  # type: ignore[arg-type]
        vision=moon.backbone.vision_parameters(),
        experts=moon.expert_parameters(),
    )
    layout = picture_layout(model)
    processor = Processor.of(tokenizer, model, _Blank(layout.side_px))
    learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    used = _reached(moon, processor) | {id(one) for one in moon.expert_parameters()}
    inside = {id(one) for one in moon.parameters()}
    idle = sum(one.numel() for one in learning if id(one) in inside and id(one) not in used)
    return Count(sum(one.numel() for one in learning) - idle, idle)


class _Blank:
    """White pictures: for a count it does not matter what is on them."""

    def __init__(self, side_px: int) -> None:
        self.side_px = side_px

    def squares(self, photo: Photo, title: str | None, category: tuple[str, ...]) -> np.ndarray:
        return np.full((2, self.side_px, self.side_px, 3), 255, dtype=np.uint8)


def _reached(moon: MoonModel, processor: Processor) -> set[int]:
    """Ids of the parameters that the embeddings of a product and of a query depend on.

    Read from autograd's graph of one forward pass. Experts that no token of it chose are missing.
    """
    product = Product(
        product_id="probe", group_id="probe", title="a probe", category=("a", "b"), attributes={"colour": "white"}
    )
    photo = Photo(ref="probe", root="")
    items = [
        processor.product(ProductItem(product, (photo,))),
        processor.query(QueryItem("probe", "white probe", photo)),
    ]
    moon.eval()
    vectors: torch.Tensor = moon(processor.collate(items))
    found: set[int] = set()
    seen: set[object] = set()
    waiting = [vectors.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, nn.Parameter):
            found.add(id(variable))
        waiting.extend(parent for parent, _ in node.next_functions)
    return found
