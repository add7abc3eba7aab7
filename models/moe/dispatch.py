"""Experts applied to the tokens that chose them: tokens sorted by expert once, then one product an expert.

Two ways to the same numbers: `torch.nn.functional.grouped_mm`, one kernel for all experts, where the device has it
(CUDA from compute capability 8.0, bfloat16); everywhere else `GroupedExperts`, a loop over the experts whose backward
writes every expert's weight gradient straight into one stacked buffer. No loop over tokens; an expert that nobody
chose costs a zeroed gradient and nothing else.

Shape suffixes: T tokens, K choices a token, P = T K pairs of token and expert, E experts, D width, F inner width,
W = 2F where gated and F where not, N pairs of one expert.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Way = Literal["loop", "product"]


def mix(
    h_TD: torch.Tensor,
    expert_TK: torch.Tensor,
    gate_TK: torch.Tensor,
    w_in_EWD: torch.Tensor,
    w_out_EDF: torch.Tensor,
    b_in_EW: torch.Tensor | None = None,
    b_out_ED: torch.Tensor | None = None,
    *,
    gated: bool,
    way: Way | None = None,
) -> torch.Tensor:
    """sum over k of gate[t, k] * f_expert[t, k](h_t).

    Args:
        h_TD: Tokens.
        expert_TK: Which experts work on each, int64.
        gate_TK: With what weight.
        w_in_EWD: First matrices, gate rows before up rows where gated.
        w_out_EDF: Second matrices.
        b_in_EW: Biases of the first.
        b_out_ED: Biases of the second.
        gated: SwiGLU; else a plain SiLU.
        way: Forces one of the two ways; None takes the grouped product where it can.

    Returns:
        (T, D) in the dtype that autocast asks for, else in that of `h_TD`.
    """
    kind, num_experts = h_TD.device.type, w_in_EWD.shape[0]
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else h_TD.dtype
    order_P = expert_TK.flatten().argsort(stable=True)
    counts_E = torch.bincount(expert_TK.flatten(), minlength=num_experts)
    if way is None:
        way = "product" if len(order_P) and has_grouped_product(h_TD.device, dtype, w_in_EWD, w_out_EDF) else "loop"
    with torch.autocast(kind, enabled=False):
        if way == "loop":
            token_P = order_P // expert_TK.shape[1]
            gate_P = gate_TK.flatten().index_select(0, order_P)
            return GroupedExperts.apply(
                h_TD, gate_P, w_in_EWD, w_out_EDF, b_in_EW, b_out_ED, token_P, counts_E.tolist(), gated, dtype
            )
        return _by_product(h_TD, gate_TK, order_P, counts_E, w_in_EWD, w_out_EDF, b_in_EW, b_out_ED, gated, dtype)


def has_grouped_product(device: torch.device, dtype: torch.dtype, *weights: torch.Tensor) -> bool:
    """Whether the device multiplies all experts' tokens in one kernel.

    A CPU takes `grouped_mm` too, but as a loop of its own that is slower than ours.
    """
    if device.type != "cuda" or dtype != torch.bfloat16 or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    # Rows must start at multiples of 16 bytes.
    return all(side % 8 == 0 for weight in weights for side in weight.shape[1:])


def _by_product(
    h_TD: torch.Tensor,
    gate_TK: torch.Tensor,
    order_P: torch.Tensor,
    counts_E: torch.Tensor,
    w_in_EWD: torch.Tensor,
    w_out_EDF: torch.Tensor,
    b_in_EW: torch.Tensor | None,
    b_out_ED: torch.Tensor | None,
    gated: bool,
    dtype: torch.dtype,
) -> torch.Tensor:
    num, width = h_TD.shape
    choices = gate_TK.shape[1]
    ends_E = counts_E.cumsum(0).to(torch.int32)
    # Repeated first and then permuted, both ways: every index occurs once, so no sum depends on the order of threads.
    pairs_PD = h_TD.to(dtype).unsqueeze(1).expand(num, choices, width).reshape(-1, width).index_select(0, order_P)
    pre_PW = F.grouped_mm(pairs_PD, w_in_EWD.to(dtype).transpose(-2, -1), offs=ends_E)
    expert_P = torch.repeat_interleave(counts_E, output_size=len(order_P))
    if b_in_EW is not None:
        pre_PW = pre_PW + b_in_EW.to(dtype).index_select(0, expert_P)
    if gated:
        gate_PF, up_PF = pre_PW.chunk(2, dim=-1)
        act_PF = F.silu(gate_PF) * up_PF
    else:
        act_PF = F.silu(pre_PW)
    out_PD = F.grouped_mm(act_PF, w_out_EDF.to(dtype).transpose(-2, -1), offs=ends_E)
    if b_out_ED is not None:
        out_PD = out_PD + b_out_ED.to(dtype).index_select(0, expert_P)
    back_P = torch.empty_like(order_P).scatter_(0, order_P, torch.arange(len(order_P), device=order_P.device))
    out_TKD = out_PD.index_select(0, back_P).view(num, choices, width)
    return (out_TKD.float() * gate_TK.float().unsqueeze(-1)).sum(dim=1).to(dtype)


class GroupedExperts(torch.autograd.Function):
    """The loop over experts, forward and backward; see `mix` for the arguments.

    Narrow tensors (width D) are handled for all pairs at once, wide ones (F and W) expert by expert, in buffers that
    the next one uses again and that stay in cache. Those are held with the tokens as columns: gate and up are then
    contiguous halves, which the activation passes through several times faster. Kept for backward: pre-activations, a
    tensor an expert, because a C library gives memory beyond some 32 MB back at once and to have it afresh in each step
    costs a tenth of the arithmetic; and outputs, for the gradient of the gates. Matrices of another dtype than the
    computation's are cast one expert at a time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        h_TD: torch.Tensor,
        gate_P: torch.Tensor,
        w_in_EWD: torch.Tensor,
        w_out_EDF: torch.Tensor,
        b_in_EW: torch.Tensor | None,
        b_out_ED: torch.Tensor | None,
        token_P: torch.Tensor,
        counts: list[int],
        gated: bool,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        h_PD = h_TD.index_select(0, token_P).to(dtype)
        out_PD = torch.empty_like(h_PD)
        pre_by_group = []
        room = _Room(counts, h_PD, w_out_EDF.shape[2], w_out_EDF.shape[2])
        for expert, rows in _groups(counts):
            silu_FN, act_FN = room.of(rows)
            pre_WN = torch.mm(w_in_EWD[expert].to(dtype), h_PD[rows].t())
            if b_in_EW is not None:
                pre_WN.add_(b_in_EW[expert].unsqueeze(1))
            pre_by_group.append(pre_WN)
            act_FN = _activate(pre_WN, silu_FN, act_FN, gated)
            torch.mm(act_FN.t(), w_out_EDF[expert].to(dtype).t(), out=out_PD[rows])
            if b_out_ED is not None:
                out_PD[rows] += b_out_ED[expert]
        y_TD = torch.zeros_like(h_TD, dtype=_sum_dtype(dtype))
        y_TD.index_add_(0, token_P, out_PD.to(y_TD.dtype) * gate_P.unsqueeze(-1))
        kept = out_PD if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(h_TD, gate_P, w_in_EWD, w_out_EDF, b_in_EW, b_out_ED, token_P, kept, *pre_by_group)
        ctx.counts, ctx.gated, ctx.dtype = counts, gated, dtype
        return y_TD.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TD: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        h_TD, gate_P, w_in_EWD, w_out_EDF, b_in_EW, b_out_ED, token_P, out_PD, *pre_by_group = ctx.saved_tensors
        dtype, gated, inner = ctx.dtype, ctx.gated, w_out_EDF.shape[2]
        wants_h, wants_gate, wants_in, wants_out, wants_b_in, wants_b_out = ctx.needs_input_grad[:6]
        dw_in_EWD, dw_out_EDF, db_in_EW, db_out_ED = (
            _for_gradient(weight, ctx.counts) if wanted else None
            for weight, wanted in (
                (w_in_EWD, wants_in),
                (w_out_EDF, wants_out),
                (b_in_EW, wants_b_in),
                (b_out_ED, wants_b_out),
            )
        )
        wants_pre = wants_h or wants_in or wants_b_in
        with torch.autocast(h_TD.device.type, enabled=False):
            dy_PD = dy_TD.index_select(0, token_P).to(dtype)
            dgate_P = (dy_PD * out_PD).sum(dim=1, dtype=gate_P.dtype) if wants_gate else None
            dy_PD.mul_(gate_P.unsqueeze(-1))
            h_PD = h_TD.index_select(0, token_P).to(dtype) if wants_in else None
            # Not needed any more once its rows were read: the gradient by the tokens takes their place.
            dh_PD = dy_PD
            room = _Room(ctx.counts, dy_PD, inner, inner, inner, w_in_EWD.shape[1])
            for (expert, rows), pre_WN in zip(_groups(ctx.counts), pre_by_group, strict=True):
                silu_FN, act_FN, dact_FN, dpre_WN = room.of(rows)
                dy_ND = dy_PD[rows]
                act_FN = _activate(pre_WN, silu_FN, act_FN, gated)
                if dw_out_EDF is not None:
                    _product_into(dw_out_EDF[expert], dy_ND.t(), act_FN.t())
                if db_out_ED is not None:
                    db_out_ED[expert] = dy_ND.sum(dim=0)
                if not wants_pre:
                    continue
                torch.mm(w_out_EDF[expert].to(dtype).t(), dy_ND.t(), out=dact_FN)
                dpre_WN = _before_activation(dact_FN, pre_WN, silu_FN, dpre_WN, gated)
                if dw_in_EWD is not None and h_PD is not None:
                    _product_into(dw_in_EWD[expert], dpre_WN, h_PD[rows])
                if db_in_EW is not None:
                    db_in_EW[expert] = dpre_WN.sum(dim=1)
                if wants_h:
                    torch.mm(dpre_WN.t(), w_in_EWD[expert].to(dtype), out=dh_PD[rows])
            dh_TD = None
            if wants_h:
                dh_TD = torch.zeros_like(h_TD, dtype=_sum_dtype(dtype))
                dh_TD = dh_TD.index_add_(0, token_P, dh_PD.to(dh_TD.dtype)).to(h_TD.dtype)
        return dh_TD, dgate_P, dw_in_EWD, dw_out_EDF, db_in_EW, db_out_ED, None, None, None, None


def _groups(counts: list[int]) -> list[tuple[int, slice]]:
    """Experts with work, and the places of their pairs."""
    groups, start = [], 0
    for expert, count in enumerate(counts):
        if count:
            groups.append((expert, slice(start, start + count)))
        start += count
    return groups


class _Room:
    """Matrices of some heights for one group after the other, each as wide as its group, in the same memory."""

    def __init__(self, counts: list[int], like: torch.Tensor, *heights: int) -> None:
        columns = max(counts, default=0)
        self._flat = [(height, like.new_empty(height * columns)) for height in heights]

    def of(self, rows: slice) -> list[torch.Tensor]:
        num = rows.stop - rows.start
        return [flat[: height * num].view(height, num) for height, flat in self._flat]


def _activate(pre_WN: torch.Tensor, silu_FN: torch.Tensor, act_FN: torch.Tensor, gated: bool) -> torch.Tensor:
    """The activation, and what the gate's SiLU was, in the two buffers."""
    if not gated:
        return torch.ops.aten.silu.out(pre_WN, out=silu_FN)
    gate_FN, up_FN = pre_WN.chunk(2)
    torch.ops.aten.silu.out(gate_FN, out=silu_FN)
    return torch.mul(silu_FN, up_FN, out=act_FN)


def _before_activation(
    dact_FN: torch.Tensor, pre_WN: torch.Tensor, silu_FN: torch.Tensor, dpre_WN: torch.Tensor, gated: bool
) -> torch.Tensor:
    """Gradient before the activation, in its buffer; uses `dact_FN` up."""
    silu_backward = torch.ops.aten.silu_backward.grad_input
    if not gated:
        return silu_backward(dact_FN, pre_WN, grad_input=dpre_WN)
    gate_FN, up_FN = pre_WN.chunk(2)
    dgate_FN, dup_FN = dpre_WN.chunk(2)
    torch.mul(dact_FN, silu_FN, out=dup_FN)
    silu_backward(dact_FN.mul_(up_FN), gate_FN, grad_input=dgate_FN)
    return dpre_WN


def _for_gradient(weight: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Room for a stacked gradient; zero where an expert had no token, the rest yet to be written."""
    gradient = torch.empty_like(weight)
    for expert, count in enumerate(counts):
        if not count:
            gradient[expert].zero_()
    return gradient


def _product_into(out: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(torch.mm(left, right))


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """At least float32: a token's choices are added up one by one."""
    return torch.promote_types(dtype, torch.float32)
