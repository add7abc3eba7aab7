"""Dispatch: both ways against a dense sum, derivatives against finite differences, frozen parts."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from models.moe import dispatch
from models.moe.dispatch import has_grouped_product, mix

T, K, E, D, INNER = 7, 2, 4, 8, 8


def _problem(
    gated: bool, bias: bool, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor | None]]:
    """Tokens' experts (one of them idle), and tokens, gates and weights with gradients."""
    generator = torch.Generator().manual_seed(1)
    expert_TK = torch.stack([torch.randperm(E - 1, generator=generator)[:K] for _ in range(T)])

    def make(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    inner = 2 * INNER if gated else INNER
    weights = [make(E, inner, D), make(E, D, INNER), make(E, inner) if bias else None, make(E, D) if bias else None]
    return make(T, D), make(T, K), [expert_TK, *weights]


def _all_and_mask(h_TD, gate_TK, expert_TK, w_in, w_out, b_in, b_out, gated):  # type: ignore[no-untyped-def]
    """Every expert on every token, then the chosen ones weighed."""
    pre = torch.einsum("td,ewd->tew", h_TD, w_in) + (0.0 if b_in is None else b_in)
    act = F.silu(pre[..., :INNER]) * pre[..., INNER:] if gated else F.silu(pre)
    out = torch.einsum("tef,edf->ted", act, w_out) + (0.0 if b_out is None else b_out)
    return (F.one_hot(expert_TK, E).to(gate_TK) * gate_TK.unsqueeze(-1)).sum(1).unsqueeze(1).bmm(out).squeeze(1)


@pytest.mark.parametrize("way", ["loop", "product"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("gated", [False, True])
def test_both_ways_equal_all_experts_masked(gated: bool, bias: bool, way: str) -> None:
    # The grouped product knows no float64.
    h, gate, (expert, *weights) = _problem(gated, bias, torch.float32)
    ours = mix(h, expert, gate, *weights, gated=gated, way=way)
    theirs = _all_and_mask(h, gate, expert, *weights, gated)
    assert torch.allclose(ours, theirs, atol=1e-5)
    wanted = [h, gate, *(weight for weight in weights if weight is not None)]
    upstream = torch.randn(T, D)
    for one, other in zip(
        torch.autograd.grad((ours * upstream).sum(), wanted),
        torch.autograd.grad((theirs * upstream).sum(), wanted),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("gated", [False, True])
def test_derivatives_equal_finite_differences(gated: bool, bias: bool) -> None:
    h, gate, (expert, *weights) = _problem(gated, bias)
    inputs = [one for one in (h, gate, *weights) if one is not None]

    def run(*values: torch.Tensor) -> torch.Tensor:
        rest = list(values[2:]) + [None] * (4 - len(values[2:]))
        return mix(values[0], expert, values[1], *rest, gated=gated)

    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("free", range(6))
def test_a_part_alone_gets_the_gradient_it_gets_among_all(free: int) -> None:
    h, gate, (expert, *weights) = _problem(True, True)
    parts = [h, gate, *weights]
    everything = torch.autograd.grad(mix(h, expert, gate, *weights, gated=True).square().sum(), parts)
    frozen = [part.detach() for part in parts]
    frozen[free].requires_grad_()
    alone = mix(frozen[0], expert, frozen[1], *frozen[2:], gated=True).square().sum()
    assert torch.allclose(torch.autograd.grad(alone, [frozen[free]])[0], everything[free])


def test_no_token_at_all_leaves_a_graph_with_zero_gradients() -> None:
    _, _, (_, *weights) = _problem(True, True)
    nothing = torch.zeros(0, D, dtype=torch.float64)
    y = mix(nothing, torch.zeros(0, K, dtype=torch.long), torch.zeros(0, K, dtype=torch.float64), *weights, gated=True)
    assert y.shape == (0, D)
    assert all(float(one.abs().max()) == 0.0 for one in torch.autograd.grad(y.sum(), weights))


@pytest.mark.parametrize("way", ["loop", "product"])
def test_a_bf16_run_keeps_the_parameters_dtype_in_gradients_and_is_near(way: str) -> None:
    h, gate, (expert, *weights) = _problem(True, True, torch.float32)
    exact = mix(h, expert, gate, *weights, gated=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = mix(h, expert, gate, *weights, gated=True, way=way)
    assert rounded.dtype == torch.bfloat16
    assert float((rounded - exact).detach().norm() / exact.detach().norm()) < 0.02
    wanted = [h, gate, *weights]
    for one, other in zip(
        torch.autograd.grad(rounded.float().square().sum(), wanted),
        torch.autograd.grad(exact.square().sum(), wanted),
        strict=True,
    ):
        assert one.dtype == other.dtype
        assert float((one - other).norm() / other.norm()) < 0.05


def test_the_cpu_takes_its_own_loop() -> None:
    weight = torch.zeros(2, 8, 8)
    assert not has_grouped_product(torch.device("cpu"), torch.bfloat16, weight)
    assert not has_grouped_product(torch.device("cuda"), torch.float32, weight)


@pytest.mark.parametrize(
    ("capability", "dtype", "shapes", "expected"),
    [
        ((8, 0), torch.bfloat16, [(3, 16, 8), (3, 8, 24)], True),
        ((9, 0), torch.bfloat16, [(3, 16, 8), (3, 8, 24)], True),
        ((7, 5), torch.bfloat16, [(3, 16, 8), (3, 8, 24)], False),
        ((9, 0), torch.float32, [(3, 16, 8), (3, 8, 24)], False),
        ((9, 0), torch.float16, [(3, 16, 8), (3, 8, 24)], False),
        # Each side of each matrix, but not the number of experts.
        ((9, 0), torch.bfloat16, [(3, 12, 8), (3, 8, 24)], False),
        ((9, 0), torch.bfloat16, [(3, 16, 8), (3, 8, 20)], False),
        ((9, 0), torch.bfloat16, [(3, 16, 4), (3, 8, 24)], False),
    ],
)
def test_a_gpu_takes_the_grouped_product_where_it_has_one_and_rows_are_aligned(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shapes: list[tuple[int, ...]],
    expected: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    weights = [torch.zeros(shape) for shape in shapes]
    assert has_grouped_product(torch.device("cuda"), dtype, *weights) is expected


@pytest.mark.parametrize("has_it", [True, False])
def test_the_way_is_the_one_that_the_device_has(monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    taken: list[str] = []

    def by_product(h_TD: torch.Tensor, *rest: object) -> torch.Tensor:
        taken.append("product")
        return h_TD

    monkeypatch.setattr(dispatch, "has_grouped_product", lambda *args: has_it)
    monkeypatch.setattr(dispatch, "_by_product", by_product)
    h, gate, (expert, *weights) = _problem(True, True, torch.float32)
    mix(h, expert, gate, *weights, gated=True)
    assert taken == ["product"] * has_it
