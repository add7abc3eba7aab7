"""Options that another option makes idle: a training would be the same without them.

One table, and one rule: a row speaks only of options that were changed from their defaults. What depends on the
catalogue or on the machine is told where those are known (`models.training.announce`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from models.config import ModelConfig, TrainConfig
from models.raw_signals import CODES, OF_PICTURES, OF_WORDS, WORDS, code_width, names_of_raw


@dataclass(frozen=True)
class Row:
    """Options that are idle under one condition."""

    name: str
    options: tuple[str, ...]
    """Dotted keys; that of a section stands for every option in it."""
    when: Callable[[ModelConfig, TrainConfig], bool]
    why: str


def without_effect(model: ModelConfig, train: TrainConfig) -> list[str]:
    """One line for each reason why options that were changed from their defaults change nothing.

    Args:
        model: What is trained.
        train: How.
    """
    values = {"model": model, "train": train}
    lines = []
    for row in ROWS:
        if not row.when(model, train):
            continue
        changed = [name for option in row.options for name in _changed(values, option)]
        if changed:
            lines.append(f"{', '.join(changed)} {'has' if len(changed) == 1 else 'have'} no effect: {row.why}")
    if model.fusion == "late" and "vision_residual" in model.model_fields_set and not model.vision_residual:
        lines.append("model.vision_residual false has no effect: fusion late always has it")
    return lines


def _changed(values: dict[str, Any], option: str) -> Iterator[str]:
    """The option, or those of the section, that are not what they are by default."""
    section, _, name = option.rpartition(".")
    owner = values[section.split(".")[0]]
    for part in section.split(".")[1:]:
        owner = getattr(owner, part)
    value, default = getattr(owner, name), type(owner).model_fields[name].get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        for inner in type(value).model_fields:
            yield from _changed(values, f"{option}.{inner}")
    elif value != default:
        yield option


def _has_parts(model: ModelConfig) -> bool:
    return model.fusion == "late" or model.head == "parts"


def _head_decides_codes(model: ModelConfig) -> bool:
    """Late fusion takes no other head, but with head heads its codes are as short as their share would be."""
    return code_width(model) != code_width(model.model_copy(update={"head": "parts"}))


def _share_is_idle(name: str) -> Callable[[ModelConfig, TrainConfig], bool]:
    group = OF_PICTURES if name in OF_PICTURES else OF_WORDS

    def idle(model: ModelConfig, _: TrainConfig) -> bool:
        on = names_of_raw(model)
        if name not in on:
            return True
        if not _has_parts(model):
            return model.head == "sum"
        return not [one for one in group if one in on and one != name] and not _head_decides_codes(model)

    return idle


def _one_process(_: ModelConfig, train: TrainConfig) -> bool:
    return train.num_processes * train.num_nodes == 1


ROWS = (
    Row(
        "late_head",
        ("model.head",),
        lambda model, _: model.fusion == "late" and not _head_decides_codes(model),
        "fusion late has a head of its own",
    ),
    Row(
        "slot_weight",
        ("model.slot_weight",),
        lambda model, _: model.fusion == "late" or model.head != "parts",
        "it is for head parts with fusion decoder",
    ),
    Row(
        "late_hidden_size",
        ("model.late_hidden_size",),
        lambda model, _: model.fusion != "late" and not (model.head == "parts" and model.vision_residual),
        "it is for fusion late, and for head parts with vision_residual",
    ),
    Row(
        "fused_share",
        ("model.head_shares.fused",),
        lambda model, _: model.head != "heads",
        "it is for head heads",
    ),
    *(
        Row(
            f"{name}_share",
            (f"model.head_shares.{name}",),
            _share_is_idle(name),
            "no other signal shares with it (head heads: the fused state and the residuals that are on; head parts: "
            "residuals of the same part; head sum: none)",
        )
        for name in (*OF_PICTURES, *OF_WORDS)
    ),
    Row(
        "word_weights",
        ("model.word_weights",),
        lambda model, _: not {WORDS, CODES} & set(names_of_raw(model)),
        "neither word_residual nor code_residual is on",
    ),
    Row(
        "residual_start",
        ("model.residual_start",),
        lambda model, _: not names_of_raw(model),
        "no residual is on",
    ),
    Row(
        "late_order",
        ("model.order",),
        lambda model, _: model.fusion == "late",
        "with fusion late no picture stands in a sequence",
    ),
    Row(
        "late_grid",
        ("model.composed.grid_side", "model.max_picture_tokens"),
        lambda model, _: model.fusion == "late" and model.backbone == "composed",
        "with fusion late no picture stands in a sequence, and a composed backbone sees it at the same side",
    ),
    Row(
        "description_budget",
        ("model.max_description_tokens",),
        lambda model, _: not model.use_description,
        "use_description is off",
    ),
    Row(
        "nano",
        ("model.nano",),
        lambda model, _: model.backbone != "nano",
        "the backbone is another",
    ),
    Row(
        "pretrained",
        ("model.pretrained",),
        lambda model, _: model.backbone in ("nano", "composed"),
        "the backbone is another",
    ),
    Row(
        "composed",
        ("model.composed",),
        lambda model, _: model.backbone != "composed",
        "the backbone is another",
    ),
    Row(
        "no_experts",
        tuple(f"model.moe.{name}" for name in type(ModelConfig().moe).model_fields if name != "layers"),
        lambda model, _: not model.moe.layers,
        "model.moe.layers is empty",
    ),
    Row(
        "dense_twin",
        tuple(
            f"model.moe.{name}"
            for name in ("top_k", "combination", "router_noise_std", "load_balance_weight", "router_z_weight")
        ),
        lambda model, _: bool(model.moe.layers) and model.moe.kind == "dense",
        "kind dense has no router",
    ),
    Row(
        "dense_noise",
        ("model.moe.init_noise_std",),
        lambda model, _: bool(model.moe.layers) and model.moe.kind == "dense",
        "kind dense has no experts that begin alike",
    ),
    Row(
        "rank",
        ("model.moe.rank",),
        lambda model, _: bool(model.moe.layers) and model.moe.expert == "full",
        "it is for low-rank experts",
    ),
    Row(
        "max_labels",
        ("train.max_labels",),
        lambda _, train: not train.label_weight,
        "label_weight is 0",
    ),
    Row(
        "queue_warmup",
        ("train.negatives.queue_warmup_steps",),
        lambda _, train: not train.negatives.queue_size,
        "negatives.queue_size is 0",
    ),
    Row(
        "spatial",
        ("train.negatives.spatial",),
        _one_process,
        "one process trains",
    ),
    Row(
        "filter",
        tuple(f"train.filter.{name}" for name in ("kappa", "margin_start", "margin_end", "threshold", "lowest")),
        lambda _, train: not train.filter.enabled,
        "filter.enabled is off",
    ),
    Row(
        "modality",
        ("train.modality.floor", "train.modality.sparsity_weight"),
        lambda _, train: not train.modality.enabled,
        "modality.enabled is off",
    ),
    Row(
        "stop",
        ("train.stop.patience", "train.stop.min_delta"),
        lambda _, train: train.stop.eval_every_steps is None,
        "stop.eval_every_steps is empty",
    ),
    Row(
        "single_photo_crops",
        ("train.single_photo_crops",),
        lambda _, train: "views" not in train.pair_sources,
        "views is not among pair_sources",
    ),
    Row(
        "crops",
        ("train.distill_crops", "train.dropout.crops"),
        lambda model, _: model.crops == "none",
        "model.crops is none",
    ),
    Row(
        "query_mix",
        ("train.query_mix",),
        lambda _, train: set(train.pair_sources) in ({"views"}, {"texts"}),
        "pair_sources gives queries of one kind alone",
    ),
    Row(
        "query_mix_of_all",
        ("train.query_mix",),
        lambda _, train: train.query_views == "all" and min(train.query_mix.model_dump().values()) > 0,
        "with query_views all every kind of query with a weight above 0 asks once",
    ),
    Row(
        "mask_described",
        ("train.mask_described",),
        lambda _, train: not train.alignment_weight,
        "alignment_weight is 0",
    ),
    Row(
        "photos_per_product",
        ("train.photos_per_product",),
        lambda model, train: train.photos_per_product > model.max_images,
        "beyond model.max_images no more photographs are read",
    ),
    Row(
        "lora",
        tuple(f"train.parameters.lora.{name}" for name in ("alpha", "dropout", "targets")),
        lambda _, train: train.parameters.train != "lora",
        "parameters.train is not lora",
    ),
    Row(
        "feature_variants",
        ("train.feature_variants",),
        lambda _, train: train.parameters.train == "full" and not train.parameters.freeze,
        "the vision tower learns, so its features cannot be kept",
    ),
    Row(
        "lr_vision",
        ("train.lr_vision",),
        lambda _, train: train.parameters.train == "experts" and not train.parameters.unfreeze,
        "the vision tower stays as it is",
    ),
)
