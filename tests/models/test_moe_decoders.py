"""Experts on decoders of transformers whose FFN is not a plain SwiGLU: exact beside them, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from catalog import ModelError
from models.backbones import composed
from models.config import MoeConfig
from models.moe import GuidedMoe, TypesInView, upcycle
from models.moe.probe import probe
from models.tokens import TokenType
from tests.models.composed_models import LLAMA, VOCAB, config, spec
from tests.models.moe_layers import WIDTH, Ffn

LOW_RANK: dict[str, Any] = {"expert": "low_rank", "rank": 4}
MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2, "eos_token_id": 1},
}
LLAMA4 = {"num_local_experts": 2, "head_dim": 8, "intermediate_size_mlp": 48}
MAMBA = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "head_dim": 8}


def _decoder(kind: str, changes: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    language = {**LLAMA, "model_type": kind, "num_hidden_layers": 2, **changes}
    return composed.fresh(config(), VOCAB, spec(language=language)).eval()


def _upcycled(made: Any, moe: dict[str, Any]) -> TypesInView:
    in_view = TypesInView()
    options = MoeConfig.model_validate({"layers": [-1], **moe})
    upcycle(made.decoder_layers(), made.ffn_name, made.hidden_size, options, in_view)
    return in_view


@pytest.mark.parametrize("moe", [LOW_RANK, {**LOW_RANK, "kind": "dense"}], ids=["guided", "twin"])
@pytest.mark.parametrize("kind", MIXTURES)
def test_low_rank_experts_stand_beside_an_ffn_that_is_a_mixture_itself(kind: str, moe: dict[str, Any]) -> None:
    made = _decoder(kind, MIXTURES[kind])
    mask = torch.ones((2, 5), dtype=torch.bool)
    mask[1, 3:] = False  # only tokens that are there reach the experts
    args = (torch.randn(2, 5, made.hidden_size), mask, torch.arange(5).expand(3, 2, -1), mask, ())
    types = torch.full((2, 5), int(TokenType.TITLE)).masked_fill(~mask, int(TokenType.PAD))
    with torch.no_grad():
        before = made.decode(*args)
        in_view = _upcycled(made, moe)
        with in_view.showing(types):
            after = made.decode(*args)
    assert float((after - before)[mask].abs().max()) <= 1e-5
    in_place = getattr(made.decoder_layers()[-1], made.ffn_name)
    with torch.no_grad(), in_view.showing(types):
        nn.init.normal_(in_place.experts.w_out if isinstance(in_place, GuidedMoe) else in_place.branch.up.weight)
        assert float((made.decode(*args) - before)[mask].abs().max()) > 1e-3


@pytest.mark.parametrize("moe", [LOW_RANK, {**LOW_RANK, "kind": "dense"}, {"expert": "full"}])
def test_an_ffn_that_returns_a_tuple_is_refused_by_name_before_anything_changes(moe: dict[str, Any]) -> None:
    made = _decoder("llama4_text", LLAMA4)
    with pytest.raises(ModelError, match="returns more than its output") as caught:
        _upcycled(made, {**moe, "layers": [0, -1]})
    assert "Llama4TextMoe in layer 0" in caught.value.where
    assert caught.value.got == "a tuple"
    assert "low_rank" not in caught.value.fix
    assert not any(isinstance(one, GuidedMoe) for one in made.modules())
    # The way out that it names is one.
    _upcycled(made, {**moe, "layers": []})


@pytest.mark.parametrize("kind", ["guided", "dense"])
def test_full_experts_refuse_a_swiglu_with_multipliers(kind: str) -> None:
    full = {"expert": "full", "kind": kind}
    with pytest.raises(ModelError, match="such as by multipliers") as caught:
        _upcycled(_decoder("falcon_h1", {**MAMBA, "mlp_multipliers": [0.5, 0.25]}), full)
    assert "FalconH1MLP" in caught.value.where
    _upcycled(_decoder("falcon_h1", {**MAMBA, "mlp_multipliers": [1.0, 1.0]}), full)
    _upcycled(_decoder("falcon_h1", {**MAMBA, "mlp_multipliers": [0.5, 0.25]}), {**LOW_RANK, "kind": kind})


class _Clamped(Ffn):
    """Shows its difference to large numbers alone."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(h).clamp(max=2.0)) * self.up_proj(h))


class _Dropped(Ffn):
    """A SwiGLU, but for training."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(h), 0.5, self.training)


@pytest.mark.parametrize(("ffn", "is_swiglu"), [(_Clamped, False), (_Dropped, True), (Ffn, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_numbers_decide_in_evaluation_mode(ffn: type[Ffn], is_swiglu: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Module()
    layer.mlp = ffn().to(dtype).train()
    layers = nn.ModuleList([layer])
    options = MoeConfig.model_validate({"expert": "full", "layers": [0]})
    if is_swiglu:
        upcycle(layers, "mlp", WIDTH, options, TypesInView())
        return
    with pytest.raises(ModelError, match="full experts need a SwiGLU"):
        upcycle(layers, "mlp", WIDTH, options, TypesInView())


def test_probing_leaves_no_trace() -> None:
    """Weights drawn afterwards are those of before there was a probe, and each part stays in its own mode."""
    ffn = _Dropped().train()
    ffn.down_proj.eval()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, other = probe(ffn, WIDTH), probe(ffn, WIDTH)
    assert torch.equal(torch.rand(3), expected)
    assert one is not None
    assert other is not None
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert not one[1].requires_grad
    assert [module.training for module in (ffn, ffn.gate_proj, ffn.down_proj)] == [True, True, False]
    assert probe(ffn.to("meta"), WIDTH) is None
