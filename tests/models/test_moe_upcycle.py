"""Upcycling a decoder, the dense twin, and the count of parameters made beforehand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2MLP

from catalog import ModelError
from models.config import MoeConfig
from models.moe import DenseTwin, GuidedMoe, TypesInView, moe_parameters, upcycle
from models.tokens import TokenType
from tests.models.moe_layers import FORMS, INNER, WIDTH, Ffn, make, name_of


def _layers(num: int = 3) -> nn.ModuleList:
    layers = nn.ModuleList()
    for _ in range(num):
        layer = nn.Module()
        layer.mlp = Ffn()
        layers.append(layer)
    return layers


def own_parameters(decoder: nn.Module) -> list[nn.Parameter]:
    """What came with guided experts or dense twins: all of them but the FFN that stays as a shared part."""
    return [
        parameter
        for module in decoder.modules()
        if isinstance(module, GuidedMoe | DenseTwin)
        for name, parameter in module.named_parameters()
        if not name.startswith("shared.")
    ]


def _trainable(module: nn.Module, config: MoeConfig) -> int:
    """Parameters besides the decoder's own FFN where low-rank changes stand beside it."""
    own = own_parameters(module) if config.expert == "low_rank" else list(module.parameters())
    return sum(one.numel() for one in own)


def test_upcycling_touches_the_chosen_layers_only() -> None:
    layers = _layers()
    made = upcycle(layers, "mlp", WIDTH, MoeConfig(layers=(-1, 0, 2)), TypesInView())
    assert [type(layer.mlp) for layer in layers] == [GuidedMoe, Ffn, GuidedMoe]
    assert made == [layers[0].mlp, layers[2].mlp]


def test_no_layers_leave_the_decoder_dense() -> None:
    layers = _layers()
    assert upcycle(layers, "mlp", WIDTH, MoeConfig(layers=()), TypesInView()) == []
    assert all(type(layer.mlp) is Ffn for layer in layers)


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_that_the_decoder_has_not_is_refused_before_anything_changes(layer: int) -> None:
    layers = _layers()
    with pytest.raises(ModelError, match=r"-3 to 2: the decoder has 3 layers"):
        upcycle(layers, "mlp", WIDTH, MoeConfig(layers=(0, layer)), TypesInView())
    assert all(type(one.mlp) is Ffn for one in layers)


@pytest.mark.parametrize("mlp", [LlamaMLP, Qwen2MLP])
def test_decoders_of_transformers_are_upcycled_exactly(mlp: type[nn.Module]) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=WIDTH, intermediate_size=INNER, num_attention_heads=2, hidden_act="silu")
    dense = mlp(config)
    in_view = TypesInView()
    moe = GuidedMoe(copy.deepcopy(dense), WIDTH, MoeConfig(expert="full", shared_expert=True), in_view)
    h = torch.randn(2, 5, WIDTH)
    with in_view.showing(torch.full((2, 5), int(TokenType.CATEGORY))):
        assert torch.allclose(moe(h), dense(h), atol=1e-6)


class _Gelu(nn.Module):
    """A plain FFN, as in the decoders of old."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(h)))


@pytest.mark.parametrize("kind", ["guided", "dense"])
def test_full_experts_refuse_an_ffn_of_another_shape_by_name(kind: str) -> None:
    gelu_gate, extra = Ffn(), Ffn()
    gelu_gate.act_fn = nn.GELU()
    extra.scale = nn.Parameter(torch.ones(1))
    for ffn, got in ((_Gelu(), "no linear gate_proj"), (gelu_gate, "GELU"), (extra, "parameters beyond")):
        layer = nn.Module()
        layer.mlp = ffn
        config = MoeConfig.model_validate({"expert": "full", "layers": [0], "kind": kind})
        with pytest.raises(ModelError, match=got) as caught:
            upcycle(nn.ModuleList([layer]), "mlp", WIDTH, config, TypesInView())
        assert type(ffn).__name__ in caught.value.where
        assert "low_rank" in caught.value.fix


def test_low_rank_experts_stand_beside_any_ffn() -> None:
    torch.manual_seed(0)
    dense, in_view = _Gelu(), TypesInView()
    moe = GuidedMoe(copy.deepcopy(dense), WIDTH, MoeConfig(), in_view)
    twin = DenseTwin(copy.deepcopy(dense), WIDTH, MoeConfig())
    h = torch.randn(2, 5, WIDTH)
    with in_view.showing(torch.full((2, 5), int(TokenType.TITLE))):
        assert torch.allclose(moe(h), dense(h), atol=1e-6)
    assert torch.allclose(twin(h), dense(h), atol=1e-6)


def test_noise_at_the_start_parts_full_experts_by_its_share_of_the_matrix() -> None:
    dense, moe, _ = make({"combination": "additive", "expert": "full"}, num_experts=64, init_noise_std=0.1)
    assert torch.equal(moe.guided.w_in[0, :INNER], dense.gate_proj.weight)
    noise = moe.experts.w_in - torch.cat([dense.gate_proj.weight, dense.up_proj.weight])
    expected = 0.1 * float(torch.cat([dense.gate_proj.weight, dense.up_proj.weight]).detach().std())
    assert float(noise.detach().std()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_the_count_made_beforehand_is_the_count_of_the_module(form: dict[str, Any]) -> None:
    _, moe, _ = make(form, num_experts=5, top_k=3)
    counted = moe_parameters(moe.config, WIDTH, INNER)
    assert counted["total"] == sum(one.numel() for one in moe.parameters())
    assert counted["trainable"] == _trainable(moe, moe.config)
    one = (moe.experts.w_in[0].numel() + moe.experts.w_out[0].numel()) * (5 - 3)
    assert counted["active"] == counted["total"] - one - sum(each.numel() for each in moe.guided.parameters())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_the_dense_twin_has_as_many_trainable_parameters_and_starts_as_the_dense_ffn(
    form: dict[str, Any], bias: bool
) -> None:
    dense, moe, _ = make(form, bias=bias, rank=6, num_experts=7)
    layers = _layers(1)
    layers[0].mlp = copy.deepcopy(dense)
    config = moe.config.model_copy(update={"kind": "dense", "layers": (0,)})
    assert upcycle(layers, "mlp", WIDTH, config, TypesInView()) == []
    twin = layers[0].mlp
    assert isinstance(twin, DenseTwin)
    if not bias:  # biases are not counted
        assert _trainable(twin, config) == pytest.approx(_trainable(moe, moe.config), rel=0.01)
        learnt_alone = [sum(one.numel() for one in own_parameters(module)) for module in (twin, moe)]
        assert learnt_alone[0] == pytest.approx(learnt_alone[1], rel=0.01)
        counted = moe_parameters(config, WIDTH, INNER)
        assert counted["total"] == counted["active"] == sum(one.numel() for one in twin.parameters())
        assert counted["trainable"] == _trainable(twin, config)
    h = torch.randn(2, 5, WIDTH)
    assert torch.allclose(twin(h), dense(h), atol=1e-6)


@pytest.mark.parametrize("num_experts", [1, 2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize("rank", [1, 4, 8, 16, 64])
def test_low_rank_twins_of_real_widths_are_within_one_percent(num_experts: int, rank: int) -> None:
    guided = MoeConfig(num_experts=num_experts, top_k=1, rank=rank)
    wanted = moe_parameters(guided, 576, 1536)["trainable"]
    got = moe_parameters(guided.model_copy(update={"kind": "dense"}), 576, 1536)["trainable"]
    assert abs(got - wanted) <= max(0.01 * wanted, 576 / 2)


@pytest.mark.parametrize("options", [{"expert": "full"}, {"expert": "full", "shared_expert": True}, {}])
def test_every_part_of_the_twin_learns(options: dict[str, Any]) -> None:
    twin = DenseTwin(Ffn(), WIDTH, MoeConfig.model_validate(options))
    h = torch.randn(4, 3, WIDTH)
    optimiser = torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        (twin(h) - 1.0).square().sum().backward()
        optimiser.step()
    assert all(float(one.grad.abs().max()) > 0.0 for one in twin.parameters())


@pytest.mark.parametrize("kind", ["guided", "dense"])
@pytest.mark.parametrize("expert", ["full", "low_rank"])
def test_shapes_alone_are_upcycled_too(kind: str, expert: str) -> None:
    """Recipes too large for this machine are checked on `meta` tensors."""
    with torch.device("meta"):
        layers = _layers(2)
    config = MoeConfig.model_validate({"kind": kind, "expert": expert, "init_noise_std": 0.1 * (expert == "full")})
    upcycle(layers, "mlp", WIDTH, config, TypesInView())
    assert all(one.is_meta for one in layers[1].mlp.parameters())
    counted = moe_parameters(config, WIDTH, INNER)["total"]
    assert counted == sum(one.numel() for one in layers[1].mlp.parameters())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"num_experts": 2, "top_k": 3}, "top_k"),
        ({"shared_expert": True}, "shared_expert"),
        ({"init_noise_std": 0.1}, "init_noise_std"),
        ({"num_expert": 4}, "num_expert"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        MoeConfig.model_validate(options)
