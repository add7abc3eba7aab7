"""Guided experts: upcycling, dispatch against a naive loop, losses, counters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.config import MoeConfig
from models.moe import GuidedMoe, TypesInView, expert_load, load_balance_loss, upcycle
from models.tokens import TokenType

WIDTH = 12
FORMS = [(combination, expert) for combination in ("switch", "additive") for expert in ("full", "low_rank")]


class _Ffn(nn.Module):
    """A SwiGLU FFN with the decoder's names."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, 20, bias=False)
        self.up_proj = nn.Linear(WIDTH, 20, bias=False)
        self.down_proj = nn.Linear(20, WIDTH, bias=False)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


def _types() -> torch.Tensor:
    kinds = [TokenType.IMAGE, TokenType.TITLE, TokenType.CATEGORY, TokenType.ATTRIBUTE, TokenType.OTHER, TokenType.PAD]
    return torch.tensor([[int(kind) for kind in kinds], [int(kind) for kind in reversed(kinds)]])


def _moe(combination: str, expert: str, num_experts: int = 4, top_k: int = 2) -> tuple[_Ffn, GuidedMoe, TypesInView]:
    torch.manual_seed(3)
    config = MoeConfig.model_validate(
        {"combination": combination, "expert": expert, "num_experts": num_experts, "top_k": top_k, "rank": 5}
    )
    in_view = TypesInView()
    dense = _Ffn()
    return dense, GuidedMoe(copy.deepcopy(dense), WIDTH, config, in_view), in_view


def _shake(moe: GuidedMoe) -> None:
    """Move every weight off its start, so that the experts differ."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in moe.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def _naive(moe: GuidedMoe, h_BLD: torch.Tensor, types_BL: torch.Tensor) -> torch.Tensor:
    """The formulas of the module's docstring, one token at a time."""
    rows = []
    for h_LD, types_L in zip(h_BLD, types_BL, strict=True):
        for h, kind in zip(h_LD, types_L.tolist(), strict=True):
            if kind == TokenType.PAD:
                rows.append(torch.zeros_like(h))
                continue
            base = moe.shared(h) if moe.shared is not None else 0.0
            guided = {TokenType.CATEGORY: moe.category_expert, TokenType.ATTRIBUTE: moe.attribute_expert}.get(kind)
            if moe.config.combination == "switch" and guided is not None:
                rows.append(base + guided(h))
                continue
            probs = F.linear(h, moe.router.weight).softmax(dim=-1)
            top = probs.topk(moe.config.top_k)
            gates = top.values / top.values.sum()
            y = base + sum(
                gate * moe.experts[index](h) for gate, index in zip(gates, top.indices.tolist(), strict=True)
            )
            rows.append(y + guided(h) if guided is not None else y)
    return torch.stack(rows).view_as(h_BLD)


@pytest.mark.parametrize(("combination", "expert"), FORMS)
def test_step_zero_is_the_dense_ffn(combination: str, expert: str) -> None:
    dense, moe, in_view = _moe(combination, expert)
    h, types = torch.randn(2, 6, WIDTH), _types()
    with in_view.showing(types):
        y = moe(h)
    present = types != TokenType.PAD
    assert torch.allclose(y[present], dense(h)[present], atol=1e-6)
    assert float(y[~present].abs().max()) == 0.0


@pytest.mark.parametrize(("combination", "expert"), FORMS)
@pytest.mark.parametrize("top_k", [1, 3])
def test_dispatch_equals_a_naive_loop(combination: str, expert: str, top_k: int) -> None:
    _, moe, in_view = _moe(combination, expert, num_experts=5, top_k=top_k)
    _shake(moe)
    h, types = torch.randn(2, 6, WIDTH, requires_grad=True), _types()
    weight = torch.randn(2, 6, WIDTH)
    with in_view.showing(types):
        grouped = moe(h)
    naive = _naive(moe, h, types)
    assert torch.allclose(grouped, naive, atol=1e-5)
    parameters = [h, *moe.parameters()]
    ours = torch.autograd.grad((grouped * weight).sum(), parameters, allow_unused=True)
    theirs = torch.autograd.grad((naive * weight).sum(), parameters, allow_unused=True)
    for one, other in zip(ours, theirs, strict=True):
        zero = torch.zeros(()) if one is None and other is None else torch.zeros_like(one if one is not None else other)
        assert torch.allclose(one if one is not None else zero, other if other is not None else zero, atol=1e-4)


def test_one_full_expert_is_the_dense_ffn_whatever_the_router_says() -> None:
    _, moe, in_view = _moe("switch", "full", num_experts=1, top_k=1)
    with torch.no_grad():
        moe.router.weight.normal_()
    h, types = torch.randn(2, 6, WIDTH), torch.full((2, 6), int(TokenType.TITLE))
    with in_view.showing(types):
        assert torch.allclose(moe(h), moe.experts[0](h), atol=1e-6)


def test_unchosen_experts_compute_nothing() -> None:
    _, moe, in_view = _moe("additive", "full", num_experts=4, top_k=1)
    seen: list[int] = []
    for index, expert in enumerate(moe.experts):
        expert.register_forward_hook(lambda module, args, out, index=index: seen.append(index))
    h = torch.randn(1, 1, WIDTH).expand(1, 5, WIDTH)
    with in_view.showing(torch.full((1, 5), int(TokenType.IMAGE))):
        moe(h)
    assert len(seen) == 1


def test_counters_move_in_training_only_and_sum_to_the_choices() -> None:
    _, moe, in_view = _moe("additive", "low_rank")
    types = _types()
    with in_view.showing(types):
        moe.eval()(torch.randn(2, 6, WIDTH))
        assert float(moe.load.sum()) == 0.0
        moe.train()(torch.randn(2, 6, WIDTH))
    assert moe.load[TokenType.TITLE].sum() == 2 * moe.config.top_k
    assert moe.load[TokenType.PAD].sum() == 0
    shares = expert_load([moe])
    assert sum(value for name, value in shares.items() if "/title/" in name) == pytest.approx(1.0)
    assert float(moe.load.sum()) == 0.0


def test_balance_loss_is_one_when_balanced_and_more_when_not() -> None:
    even = torch.full((8, 4), 0.25)
    chosen = torch.eye(4).repeat(2, 1)
    assert float(load_balance_loss(even, chosen)) == pytest.approx(1.0)
    skewed = torch.tensor([[0.97, 0.01, 0.01, 0.01]]).repeat(8, 1)
    alone = torch.zeros(8, 4).index_fill_(1, torch.tensor([0]), 1.0)
    assert float(load_balance_loss(skewed, alone)) == pytest.approx(4 * 0.97)


def test_upcycling_touches_the_chosen_layers_only() -> None:
    layers = nn.ModuleList()
    for _ in range(3):
        layer = nn.Module()
        layer.mlp = _Ffn()
        layers.append(layer)
    made = upcycle(layers, "mlp", WIDTH, MoeConfig(layers=(-1, 0, 2)), TypesInView())
    assert [type(layer.mlp) for layer in layers] == [GuidedMoe, _Ffn, GuidedMoe]
    assert len(made) == 2


def test_token_types_outside_a_forward_pass_are_a_mistake_of_ours() -> None:
    _, moe, _ = _moe("additive", "low_rank")
    with pytest.raises(AssertionError):
        moe(torch.randn(1, 2, WIDTH))
