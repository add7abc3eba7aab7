"""The guided layer: upcycling, value and gradient against a naive loop, padding, counters, copies."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from models.moe import expert_load
from models.tokens import TokenType
from tests.models.moe_layers import FORMS, WIDTH, gradients, make, naive, name_of, shake, some_types


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_step_zero_is_the_dense_ffn(form: dict[str, Any], bias: bool) -> None:
    dense, moe, in_view = make(form, bias=bias)
    h, types = torch.randn(2, 8, WIDTH), some_types()
    with in_view.showing(types):
        y = moe(h)
    present = types != TokenType.PAD
    assert torch.allclose(y[present], dense(h)[present], atol=1e-6)
    assert float(y[~present].detach().abs().max()) == 0.0


@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_value_and_gradient_equal_a_naive_loop(form: dict[str, Any], top_k: int) -> None:
    _, moe, in_view = make(form, bias=top_k == 3, num_experts=5, top_k=top_k)
    shake(moe)
    h, types, weight = torch.randn(2, 8, WIDTH, requires_grad=True), some_types(), torch.randn(2, 8, WIDTH)
    with in_view.showing(types):
        grouped = moe(h)
    looped = naive(moe, h, types)
    assert torch.allclose(grouped, looped, atol=1e-5)
    wanted = [h, *moe.parameters()]
    ours, theirs = gradients((grouped * weight).sum(), wanted), gradients((looped * weight).sum(), wanted)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=2e-5)
    assert all(float(one.abs().max()) > 0 for one in ours)


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    num_rows=st.integers(1, 3),
    length=st.integers(1, 9),
    num_experts=st.integers(1, 9),
    data=st.data(),
)
def test_any_shape_equals_a_naive_loop(
    form: dict[str, Any], num_rows: int, length: int, num_experts: int, data: st.DataObject
) -> None:
    """Experts without tokens, rows of padding alone, no category token, nothing at all."""
    top_k = data.draw(st.integers(1, num_experts))
    kinds = data.draw(
        st.lists(st.sampled_from(list(TokenType)), min_size=num_rows * length, max_size=num_rows * length)
    )
    types = torch.tensor([int(kind) for kind in kinds]).view(num_rows, length)
    _, moe, in_view = make(form, num_experts=num_experts, top_k=top_k)
    shake(moe)
    h = torch.randn(num_rows, length, WIDTH, requires_grad=True)
    with in_view.showing(types):
        grouped = moe(h)
    looped = naive(moe, h, types)
    assert torch.allclose(grouped, looped, atol=1e-4)
    wanted = [h, *moe.parameters()]
    ours = torch.autograd.grad((grouped * grouped.detach()).sum(), wanted)
    theirs = gradients((looped * looped.detach()).sum(), wanted) if looped.requires_grad else None
    for number, one in enumerate(ours):
        other = torch.zeros_like(one) if theirs is None else theirs[number]
        assert torch.allclose(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("shared", [False, True])
def test_one_full_expert_is_the_dense_ffn_whatever_the_router_says(shared: bool) -> None:
    dense, moe, in_view = make(
        {"combination": "switch", "expert": "full", "shared_expert": shared}, num_experts=1, top_k=1
    )
    with torch.no_grad():
        moe.router.weight.normal_()
        moe.router.type_bias.normal_()
    h = torch.randn(2, 6, WIDTH)
    with in_view.showing(torch.full((2, 6), int(TokenType.TITLE))):
        assert torch.allclose(moe(h), dense(h), atol=1e-6)


@pytest.mark.parametrize("expert", ["full", "low_rank"])
def test_unchosen_experts_compute_nothing(expert: str) -> None:
    """Experts that nobody chose hold NaN: neither the value nor any gradient hears of it."""
    _, moe, in_view = make({"combination": "additive", "expert": expert}, num_experts=6, top_k=2)
    shake(moe)
    h = torch.randn(1, 1, WIDTH).expand(1, 5, WIDTH).clone().requires_grad_()
    types = torch.full((1, 5), int(TokenType.IMAGE))
    chosen = (h[0, 0] @ moe.router.weight.T + moe.router.type_bias[TokenType.IMAGE]).topk(2).indices.tolist()
    idle = [number for number in range(6) if number not in chosen]
    with torch.no_grad():
        moe.experts.w_in[idle] = float("nan")
        moe.experts.w_out[idle] = float("nan")
        moe.guided.w_in.fill_(float("nan"))
    with in_view.showing(types):
        y = moe(h)
    y.sum().backward()
    assert torch.isfinite(y).all()
    for parameter in (moe.experts.w_in, moe.experts.w_out):
        assert float(parameter.grad[idle].abs().max()) == 0.0
        assert float(parameter.grad[chosen].abs().max()) > 0.0
    assert torch.isfinite(h.grad).all()
    assert float(moe.guided.w_in.grad.abs().max()) == 0.0


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_padding_is_never_looked_at(form: dict[str, Any]) -> None:
    _, moe, in_view = make(form)
    shake(moe)
    types = some_types()
    h = torch.randn(2, 8, WIDTH)
    h[types == TokenType.PAD] = float("nan")
    h.requires_grad_()
    with in_view.showing(types):
        y = moe(h)
    y.square().sum().backward()
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in moe.parameters())
    assert float(h.grad[types == TokenType.PAD].abs().max()) == 0.0


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_a_sequence_does_not_depend_on_its_neighbours(form: dict[str, Any]) -> None:
    _, moe, in_view = make(form)
    shake(moe)
    h, types = torch.randn(2, 8, WIDTH), some_types()
    with in_view.showing(types):
        together = moe(h)
    with in_view.showing(types[:1, :7]):
        alone = moe(h[:1, :7])
    assert torch.allclose(together[:1, :7], alone, atol=1e-6)


@pytest.mark.parametrize("expert", ["full", "low_rank"])
def test_bf16_autocast_stays_near_fp32_and_gives_fp32_gradients(expert: str) -> None:
    _, moe, in_view = make({"combination": "additive", "expert": expert}, bias=True)
    shake(moe)
    h, types = torch.randn(2, 8, WIDTH), some_types()
    with in_view.showing(types):
        exact = moe(h)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = moe(h)
            rounded.square().mean().backward()
    assert rounded.dtype == torch.float32
    assert float((rounded - exact).detach().norm() / exact.detach().norm()) < 0.02
    assert moe.take_stats().prob_sum_E.dtype == torch.float32
    assert all(parameter.grad.dtype == torch.float32 for parameter in moe.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in moe.parameters())


def test_a_bf16_decoder_keeps_a_fp32_router() -> None:
    _, moe, in_view = make({"combination": "additive", "expert": "low_rank"})
    moe.shared.to(torch.bfloat16)
    with in_view.showing(some_types()):
        y = moe(torch.randn(2, 8, WIDTH, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    assert moe.router.weight.dtype == moe.experts.w_in.dtype == torch.float32


def test_counters_move_in_training_only_and_sum_to_the_choices() -> None:
    _, moe, in_view = make({"combination": "additive", "expert": "low_rank"})
    with in_view.showing(some_types()):
        moe.eval()(torch.randn(2, 8, WIDTH))
        assert int(moe.load.sum()) == 0
        assert moe.take_stats().num_tokens == 0
        moe.train()(torch.randn(2, 8, WIDTH))
    assert int(moe.load[TokenType.TITLE].sum()) == 2 * moe.config.top_k
    assert int(moe.load[TokenType.PAD].sum()) == 0
    assert int(moe.load.sum()) == 14 * moe.config.top_k
    shares = expert_load([moe])
    assert sum(value for name, value in shares.items() if "moe_0/title/" in name) == pytest.approx(1.0)
    assert int(moe.load.sum()) == 0


def test_a_gradient_cache_counts_its_two_passes_once() -> None:
    _, moe, in_view = make({"combination": "additive", "expert": "low_rank"})
    h = torch.randn(2, 8, WIDTH)
    with in_view.showing(some_types()):
        with torch.no_grad():
            moe(h)
        first = moe.take_stats()
        moe(h)
    assert int(first.num_tokens) == 14
    assert int(moe.load.sum()) == 14 * moe.config.top_k


def test_a_checkpointed_layer_counts_its_tokens_once() -> None:
    _, moe, in_view = make({"combination": "additive", "expert": "full"})
    shake(moe)
    h, types = torch.randn(2, 8, WIDTH, requires_grad=True), some_types()

    def loss_and_gradients(through_checkpoint: bool) -> list[torch.Tensor]:
        with in_view.showing(types):
            if through_checkpoint:
                y = checkpoint(moe, h, use_reentrant=False, context_fn=in_view.checkpoint_contexts)
            else:
                y = moe(h)
        stats = moe.take_stats()
        loss = y.square().sum() + stats.z_sum + stats.prob_sum_E[0]
        found = torch.autograd.grad(loss, [h, *moe.parameters()])
        assert stats.num_tokens == 14
        assert moe.take_stats().num_tokens == 0
        return [loss.detach(), *found]

    plain, again = loss_and_gradients(False), loss_and_gradients(True)
    assert int(moe.load.sum()) == 2 * 14 * moe.config.top_k
    for one, other in zip(plain, again, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_copy_shares_the_view_of_its_own_model_and_none_of_the_graph() -> None:
    _, moe, in_view = make({"combination": "additive", "expert": "full"})
    holder = torch.nn.ModuleDict({"one": moe})
    holder.in_view = in_view
    with in_view.showing(some_types()):
        moe(torch.randn(2, 8, WIDTH))
    twin = copy.deepcopy(holder)
    assert twin.in_view is twin["one"].in_view
    assert twin.in_view is not in_view
    assert twin["one"].take_stats().num_tokens == 0
    assert moe.take_stats().num_tokens == 14


def test_token_types_outside_a_forward_pass_are_a_mistake_of_ours() -> None:
    _, moe, in_view = make({"combination": "additive", "expert": "low_rank"})
    with pytest.raises(AssertionError):
        moe(torch.randn(1, 2, WIDTH))
    with in_view.showing(torch.ones(1, 2, dtype=torch.long)):
        pass
    with pytest.raises(AssertionError):
        in_view.get()
