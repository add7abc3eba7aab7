"""Spatial negatives: what the other ranks encoded in this very step, with gradients.

Normalisation. DDP replaces each rank's gradient by the mean over ranks. Let S be the weighted sum of the losses of all
anchors of all ranks, W the sum of their weights, R the number of ranks, S_r rank r's part of S. Each rank returns

    L_r = R S_r / W

so that the mean over ranks of the gradients is the gradient of S / W, the loss of one process with the whole batch;
so is the mean of the values. Parameters that the loss holds itself (temperature) follow the same rule. Vectors that
a rank lent to the others receive the *sum* of the gradients that all ranks' losses have for them: that is what
`gather_with_grad` does in the backward pass, and no factor R stands there. `models.losses.mean_over_ranks` gives L_r.

Every function is the identity where torch.distributed does not run, and must be called by all ranks in the same order.

Shape suffixes: N rows of this rank, T rows of all ranks, E embedding dimensions, A accepted products, F photographs.

Source: MOON, arXiv 2508.11999, names negatives of other GPUs; gradients through the gathered vectors are our choice,
because without them the gradient is that of no loss. Summing them in the backward pass is as in CLIP's open_clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup

from models.negatives.codes import CandidateCodes, QueryCodes, widened

Codes = TypeVar("Codes", QueryCodes, CandidateCodes)


def num_ranks(group: ProcessGroup | None = None) -> int:
    """Processes that train together; 1 where torch.distributed does not run."""
    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1


def rank_of(group: ProcessGroup | None = None) -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank(group) if dist.is_available() and dist.is_initialized() else 0


def rows_by_rank(num_rows: int, device: torch.device, group: ProcessGroup | None = None) -> list[int]:
    """How many rows each rank holds, this one `num_rows`; the last batch of ranks may be uneven, or empty."""
    if num_ranks(group) == 1:
        return [num_rows]
    return [int(row) for (row,) in _gather_even(torch.tensor([[num_rows]], device=device), group).tolist()]


def gather_with_grad(
    x_NE: torch.Tensor, group: ProcessGroup | None = None, rows: Sequence[int] | None = None
) -> torch.Tensor:
    """Rows of all ranks, in the order of ranks; differentiable with respect to this rank's rows.

    Args:
        x_NE: Rows of this rank, any number of them.
        group: Ranks to gather over; all by default.
        rows: What `rows_by_rank` said of them, where already asked.

    Returns:
        (T, E), the same on every rank. Its gradient is summed over ranks.

    Pitfalls:
        The backward pass talks to the other ranks too: a rank whose loss leaves the result out waits for ever. A rank
        with nothing to say passes zero rows and still multiplies them in.
    """
    if num_ranks(group) == 1:
        return x_NE
    rows = rows_by_rank(len(x_NE), x_NE.device, group) if rows is None else rows
    return cast(torch.Tensor, _Gather.apply(x_NE, tuple(rows), group))


def gather_codes(codes: Codes, group: ProcessGroup | None = None) -> Codes:
    """Codes of all ranks, in the order of ranks; lists are padded to the longest of any rank.

    Args:
        codes: Of this rank's queries or candidates.
        group: Ranks to gather over; all by default.
    """
    if num_ranks(group) == 1:
        return codes
    table = codes.table()
    shapes = _gather_even(torch.tensor([table.shape], device=table.device), group).tolist()
    table = widened(table, max(columns for _, columns in shapes))
    return codes.of_table(_gather_rows(table, [num for num, _ in shapes], group))


def gather_lists(
    codes_NF: torch.Tensor, group: ProcessGroup | None = None, rows: Sequence[int] | None = None
) -> torch.Tensor:
    """Lists of codes of all ranks, in the order of ranks, padded to the longest of any rank.

    Args:
        codes_NF: A list for each row of this rank, padded with `EMPTY`.
        group: Ranks to gather over; all by default.
        rows: What `rows_by_rank` said of them, where already asked.
    """
    if num_ranks(group) == 1:
        return codes_NF
    rows = rows_by_rank(len(codes_NF), codes_NF.device, group) if rows is None else rows
    width = max(rows_by_rank(codes_NF.shape[1], codes_NF.device, group))
    return _gather_rows(widened(codes_NF, width), rows, group)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NE: torch.Tensor, rows: tuple[int, ...], group: ProcessGroup | None) -> torch.Tensor:
        ctx.rows, ctx.group = rows, group
        return _gather_rows(x_NE, rows, group)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        total_TE = grads[0].clone(memory_format=torch.contiguous_format)
        # A reduce-scatter would send half as much; this works for uneven rows and on every back end.
        dist.all_reduce(total_TE, group=ctx.group)
        rank = rank_of(ctx.group)
        first = sum(ctx.rows[:rank])
        return total_TE[first : first + ctx.rows[rank]], None, None


def _gather_rows(x_NE: torch.Tensor, rows: Sequence[int], group: ProcessGroup | None) -> torch.Tensor:
    most = max(rows)
    padded = x_NE.new_zeros((most, *x_NE.shape[1:]))
    padded[: len(x_NE)] = x_NE
    every = _gather_even(padded, group).view(len(rows), most, *x_NE.shape[1:])
    return torch.cat([part[:num] for part, num in zip(every, rows, strict=True)])


def _gather_even(x_NE: torch.Tensor, group: ProcessGroup | None) -> torch.Tensor:
    parts = [torch.empty_like(x_NE) for _ in range(num_ranks(group))]
    dist.all_gather(parts, x_NE.contiguous(), group=group)
    return torch.cat(parts)
