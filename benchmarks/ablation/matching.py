"""Trainable parameters: counted on the model as a training would find it, and made equal for rivals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import nn

from benchmarks.ablation.protocol import Setup
from catalog import Catalog, ModelError, Photo, Product, ProductItem, QueryItem, Splits
from models.backbones import load_backbone, picture_layout
from models.config import ModelConfig, TrainConfig
from models.moe import DenseTwin
from models.moon import MoonModel
from models.processor import Processor
from models.regions.wanted import Wanted
from models.tokenizer import catalog_texts, train_tokenizer
from models.training.objective import Objective
from models.training.parameters import add_lora, choose_trainable

SMALLEST = ModelConfig.model_fields["late_hidden_size"].metadata[0].ge
_PROBES = (64, 128)
USEFUL = 64
"""Narrower than this the rival's image map is hardly one: it is then widened as far as the tolerance lets it."""


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

    Where that leaves it next to no map, the rival is given more than full, up to the tolerance: a doubt about who has
    more goes to the rival.

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
    if slope > 0 and width < USEFUL:
        most = int((target * (1 + tolerance_frac) - low) / slope + _PROBES[0])
        width = min(USEFUL, most)
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


@dataclass(frozen=True)
class Counted:
    """A model as a training would find it, counted and let go again."""

    count: Count
    train: TrainConfig
    """The training's section without patterns of a part that the arm has not."""


def count_parameters(setup: Setup, catalog: Catalog, splits: Splits, *, lacks_parts: bool = False) -> Counted:
    """Parameters that learn in a training with this configuration, without decoding a photograph.

    Args:
        setup: Of the run.
        catalog: Its texts train the tokenizer of a backbone that has none.
        splits: Whose train side that is.
        lacks_parts: An arm without a part has no parameter for a pattern that names it: such patterns of learning
            rates, `freeze` and `unfreeze` are dropped. Full keeps all of its own, and must have a match for each.

    Raises:
        ModelError: Weights are not there, or a pattern of the training's section matches nothing.
    """
    model, train = setup.model, setup.train
    loaded = load_backbone(model, train.seed)
    tokenizer = loaded[1] if loaded else train_tokenizer(catalog_texts(catalog, splits), model.nano.vocab_size)
    assert tokenizer is not None
    moon = MoonModel.seeded(model, tokenizer.get_vocab_size(), train.seed, loaded[0] if loaded else None)
    if train.parameters.train == "lora":
        add_lora(moon.backbone, train.parameters.lora)  # type: ignore[arg-type]
    objective = Objective(moon, model, train)
    if lacks_parts:
        train = without_lost_patterns(train, [name for name, _ in objective.named_parameters()])
    choose_trainable(
        objective,
        train.parameters,
        backbone=moon.backbone,  # type: ignore[arg-type]
        vision=moon.backbone.vision_parameters(),
        experts=moon.expert_parameters(),
    )
    _check_twins(moon)
    layout = picture_layout(model)
    processor = Processor.of(tokenizer, model, _Blank(layout.side_px))
    learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    used = _reached(moon, processor) | {id(one) for one in moon.expert_parameters()}
    inside = {id(one) for one in moon.parameters()}
    idle = sum(one.numel() for one in learning if id(one) in inside and id(one) not in used)
    return Counted(Count(sum(one.numel() for one in learning) - idle, idle), train)


def without_lost_patterns(train: TrainConfig, names: Sequence[str]) -> TrainConfig:
    """The training's section with only those patterns of parameters that match one of `names`."""
    # An adapter hides the layer it sits on: the name a pattern means is the one from before.
    plain = [name.replace(".base_layer.", ".") for name in names]

    def matches(pattern: str) -> bool:
        return any(fnmatchcase(name, pattern) for name in plain)

    own = train.parameters
    kept = {
        "freeze": tuple(filter(matches, own.freeze)),
        "unfreeze": tuple(filter(matches, own.unfreeze)),
        "lr_multipliers": {pattern: factor for pattern, factor in own.lr_multipliers.items() if matches(pattern)},
    }
    return train.model_copy(update={"parameters": own.model_copy(update=kept)})


def _check_twins(moon: MoonModel) -> None:
    """A dense twin that stays as it was made is no twin: the arm would lack capacity, and not what it is named for."""
    for module in moon.modules():
        if isinstance(module, DenseTwin) and not all(one.requires_grad for one in module.branch.parameters()):
            raise ModelError(
                "the dense twin of the mixture of experts does not learn",
                where="train.parameters",
                got="its branch is frozen",
                fix='add "*.branch.*" to train.parameters.unfreeze in the arm',
            )


class _Blank:
    """White pictures: for a count it does not matter what is on them."""

    def __init__(self, side_px: int) -> None:
        self.side_px = side_px

    def squares(self, photo: Photo, wanted: Wanted, views: int = 2) -> np.ndarray:
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
