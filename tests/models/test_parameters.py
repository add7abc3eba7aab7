"""Who learns, adapters against their formula, and the optimiser's groups."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from catalog import ModelError
from models.config.parameters import LoraConfig, ParametersConfig
from models.training.parameters import (
    add_lora,
    choose_trainable,
    eval_frozen_norms,
    merge_lora,
    optimizer_groups,
)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.up_proj, self.norm = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.LayerNorm(8)
        self.experts = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x + self.up_proj(torch.tanh(self.q_proj(x))) + self.experts(x))


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vision = nn.Sequential(nn.Conv2d(3, 8, 2), nn.BatchNorm2d(8))
        self.layers = nn.ModuleList([Layer(), Layer()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Root(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = Backbone(), nn.Linear(8, 4)
        self.log_scale = nn.Parameter(torch.zeros(()))


@pytest.fixture
def root() -> Root:
    torch.manual_seed(0)
    return Root()


def _choose(root: Root, **settings: object):  # type: ignore[no-untyped-def]
    experts = [one for layer in root.backbone.layers for one in layer.experts.parameters()]
    vision = list(root.backbone.vision.parameters())
    config = ParametersConfig.model_validate(settings)
    return choose_trainable(root, config, backbone=root.backbone, vision=vision, experts=experts)


def _learning(root: nn.Module) -> set[str]:
    return {name for name, parameter in root.named_parameters() if parameter.requires_grad}


def test_full_trains_everything(root: Root) -> None:
    report = _choose(root)
    assert report.frozen == 0
    assert report.trainable == sum(parameter.numel() for parameter in root.parameters())


def test_experts_only_trains_experts_and_what_is_no_backbone(root: Root) -> None:
    report = _choose(root, train="experts")
    experts = {f"backbone.layers.{n}.experts.{kind}" for n in (0, 1) for kind in ("weight", "bias")}
    assert _learning(root) == experts | {"head.weight", "head.bias", "log_scale"}
    counts = {part.part: (part.trainable, part.frozen) for part in report.parts}
    assert counts["experts"] == (2 * 72, 0)
    assert counts["vision tower"] == (0, 8 * 12 + 8 + 16)
    assert counts["head and losses"] == (37, 0)
    assert report.lines()[-1] == f"all: {report.trainable:,} parameters learn, {report.frozen:,} stay"


def test_patterns_freeze_and_unfreeze(root: Root) -> None:
    _choose(root, freeze=["backbone.vision.*", "*.norm.*"], unfreeze=["*.1.norm.weight"])
    assert not any(name.startswith("backbone.vision") for name in _learning(root))
    assert "backbone.layers.1.norm.weight" in _learning(root)
    assert "backbone.layers.1.norm.bias" not in _learning(root)
    # A later choice starts anew.
    _choose(root)
    assert len(_learning(root)) == len(list(root.parameters()))


@pytest.mark.parametrize("key", ["freeze", "unfreeze"])
def test_a_pattern_that_matches_nothing_is_refused(root: Root, key: str) -> None:
    with pytest.raises(ModelError, match="matches no parameter") as caught:
        _choose(root, **{key: ["backbone.visions.*"]})
    assert "backbone.vision." in str(caught.value)
    assert f"train.parameters.{key}" in str(caught.value)


def test_nothing_left_to_learn_is_refused(root: Root) -> None:
    with pytest.raises(ModelError, match="every parameter is frozen"):
        _choose(root, freeze=["*"])


@pytest.mark.parametrize("settings", [{"train": "lora"}, {"train": "full", "lora": {"rank": 4}}])
def test_rank_and_mode_must_agree(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="needs a rank above 0"):
        ParametersConfig.model_validate(settings)


def test_an_adapter_is_the_low_rank_product_it_says(root: Root) -> None:
    x = torch.randn(3, 8)
    before = root.backbone(x)
    names = add_lora(root.backbone, LoraConfig(rank=2, alpha=6.0, targets=("*.q_proj", "layers.1.up_proj")))
    assert names == ("layers.0.q_proj", "layers.1.q_proj", "layers.1.up_proj")
    assert torch.equal(root.backbone(x), before)
    layer = root.backbone.layers[0].q_proj
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(up)
    expected = F.linear(x, layer.base_layer.weight + 3.0 * up @ down, layer.base_layer.bias)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_lora_trains_adapters_experts_and_the_rest(root: Root) -> None:
    lora = {"rank": 2, "targets": ["*.q_proj"]}
    add_lora(root.backbone, LoraConfig.model_validate(lora))
    report = _choose(root, train="lora", lora=lora)
    adapters = {name for name in _learning(root) if ".lora_" in name}
    assert len(adapters) == 4
    assert len(_learning(root)) == 4 + 4 + 3
    assert {part.part: part.trainable for part in report.parts}["adapters"] == 2 * 2 * 16
    # Patterns name a matrix as it was before it got an adapter.
    _choose(root, train="lora", lora=lora, unfreeze=["backbone.layers.0.q_proj.weight"])
    assert "backbone.layers.0.q_proj.base_layer.weight" in _learning(root)


def test_merged_adapters_leave_the_same_function_under_the_first_names(root: Root) -> None:
    names = set(root.state_dict())
    add_lora(root.backbone, LoraConfig(rank=2, targets=("*.q_proj", "*.up_proj")))
    for name, parameter in root.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    x = torch.randn(3, 8)
    expected = root.backbone(x)
    copied = copy.deepcopy(root)
    assert merge_lora(copied) == 4
    assert set(copied.state_dict()) == names
    assert torch.allclose(copied.backbone(x), expected, atol=1e-5)
    assert torch.equal(root.backbone(x), expected)
    # Once merged, adapters may be added anew.
    assert len(add_lora(copied.backbone, LoraConfig(rank=1, targets=("*.q_proj",)))) == 2
    assert merge_lora(nn.Linear(2, 2)) == 0


def test_adapters_of_a_bf16_backbone_are_float32(root: Root) -> None:
    backbone = root.backbone.to(torch.bfloat16)
    add_lora(backbone, LoraConfig(rank=2, targets=("*.q_proj",)))
    kinds = {".lora_" in name: parameter.dtype for name, parameter in backbone.named_parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    assert backbone(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_an_adapter_for_nothing_is_refused(root: Root) -> None:
    with pytest.raises(ModelError, match="matches no linear layer") as caught:
        add_lora(root.backbone, LoraConfig(rank=2, targets=("*.query",)))
    assert "q_proj" in str(caught.value)


def test_frozen_batch_norm_keeps_its_statistics(root: Root) -> None:
    _choose(root, freeze=["backbone.vision.*"])
    root.train()
    assert eval_frozen_norms(root) == 1
    norm = root.backbone.vision[1]
    before = norm.running_mean.clone()
    root.backbone.vision(torch.randn(4, 3, 4, 4))
    assert torch.equal(norm.running_mean, before)
    _choose(root)
    root.train()
    assert eval_frozen_norms(root) == 0
    root.backbone.vision(torch.randn(4, 3, 4, 4))
    assert not torch.equal(norm.running_mean, before)


def test_optimizer_groups_hold_every_learning_parameter_once(root: Root) -> None:
    _choose(root, freeze=["*.norm.*"])
    groups = optimizer_groups(
        root,
        root.backbone.vision.parameters(),
        lr_vision=0.1,
        lr_text=0.4,
        weight_decay=0.05,
        multipliers={"head.*": 10.0, "*.experts.weight": 0.5, "*.weight": 1.0},
    )
    held = [id(parameter) for group in groups for parameter in group["params"]]  # type: ignore[attr-defined]
    assert len(held) == len(set(held)) == len(_learning(root))
    by_name = {group["name"]: group for group in groups}
    assert set(by_name) == {
        "text",
        "text_no_decay",
        "text_x0.5",
        "text_x10",
        "text_no_decay_x10",
        "vision",
        "vision_no_decay",
    }
    assert by_name["text_x10"]["lr"] == by_name["text_x10"]["peak_lr"] == pytest.approx(4.0)
    assert by_name["text_x0.5"]["lr"] == pytest.approx(0.2)
    assert by_name["vision"]["lr"] == pytest.approx(0.1)
    assert by_name["vision_no_decay"]["weight_decay"] == 0.0
    assert by_name["text"]["weight_decay"] == 0.05
    torch.optim.AdamW(groups)


def test_a_multiplier_for_nothing_is_refused(root: Root) -> None:
    with pytest.raises(ModelError, match="matches no parameter"):
        optimizer_groups(root, (), lr_vision=1, lr_text=1, weight_decay=0, multipliers={"tail.*": 2.0})
