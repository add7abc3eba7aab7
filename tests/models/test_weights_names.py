"""The name table of EfficientNet-Lite0, against timm's own state dict and against the order of both."""

from __future__ import annotations

import pytest
import timm
import torch

from catalog import ModelError
from models.weights.lite0 import BATCH_COUNTER, BLOCKS_OF_STAGE, name_table, rename_tensors

NORM = ("weight", "bias", "running_mean", "running_var", BATCH_COUNTER)


def published_names() -> list[str]:
    """The published checkpoint's names in its own order, written down without the table under test."""
    names = ["_conv_stem.weight", *(f"_bn0.{part}" for part in NORM)]
    for block in range(16):
        layers = [("_expand_conv", "_bn0")] if block else []
        layers += [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        for conv, norm in layers:
            names += [f"_blocks.{block}.{conv}.weight", *(f"_blocks.{block}.{norm}.{part}" for part in NORM)]
    names += ["_conv_head.weight", *(f"_bn1.{part}" for part in NORM)]
    return [*names, "_fc.weight", "_fc.bias"]


@pytest.fixture(scope="module")
def own() -> dict[str, torch.Tensor]:
    return timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()


def test_the_table_is_complete_both_ways(own: dict[str, torch.Tensor]) -> None:
    table = name_table(published_names())
    assert len(table) == len(set(table.values())) == 247
    assert set(table.values()) == {name for name in own if not name.endswith(BATCH_COUNTER)}
    assert set(table) == {name for name in published_names() if not name.endswith(BATCH_COUNTER)}
    assert sum(BLOCKS_OF_STAGE) == 16


def test_the_order_of_both_agrees(own: dict[str, torch.Tensor]) -> None:
    assert len(published_names()) == len(own) == 296
    by_order = dict(zip(published_names(), own, strict=True))
    assert name_table(published_names()) == {
        old: new for old, new in by_order.items() if not old.endswith(BATCH_COUNTER)
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_blocks.0._bn1.bias", "blocks.0.0.bn1.bias"),
        ("_blocks.1._bn1.bias", "blocks.1.0.bn2.bias"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.10._project_conv.weight", "blocks.4.2.conv_pwl.weight"),
        ("_blocks.15._expand_conv.weight", "blocks.6.0.conv_pw.weight"),
        ("_bn1.running_var", "bn2.running_var"),
    ],
)
def test_names_worked_out_by_hand(old: str, new: str) -> None:
    assert name_table([old]) == {old: new}


@pytest.mark.parametrize(
    "name",
    ["_blocks.16._bn1.bias", "_blocks.0._expand_conv.weight", "_blocks.x._bn1.bias", "_blocks.3._se.weight", "fc.bias"],
)
def test_a_name_without_a_rule_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="as published") as caught:
        name_table([name])
    assert name in caught.value.got


def test_missing_unknown_and_misshapen_tensors_are_named(own: dict[str, torch.Tensor]) -> None:
    back = {new: old for old, new in name_table(published_names()).items()}
    tensors = {back[name]: tensor for name, tensor in own.items() if name in back}
    renamed = rename_tensors(tensors, own)
    assert set(renamed) == set(back)
    assert all(renamed[name] is tensor for name, tensor in own.items() if name in renamed)
    tensors.pop("_conv_stem.weight")
    tensors["_fc.bias"] = torch.zeros(10)
    with pytest.raises(ModelError, match="does not fit") as caught:
        rename_tensors(tensors, own)
    assert "missing: conv_stem.weight" in caught.value.got
    assert "classifier.bias: (10,) instead of (1000,)" in caught.value.got
    with pytest.raises(ModelError, match="does not fit") as caught:
        rename_tensors(tensors, {name: tensor for name, tensor in own.items() if "bn2" not in name})
    assert "unknown to timm: blocks" in caught.value.got
