"""From losses by anchor to one number, the same whether one process holds the batch or several.

Shape suffixes: Q anchors of this rank, V views.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup

from models.negatives.gather import num_ranks

LEAST_WEIGHT = 1e-12
"""A sum of weights below it counts as none. The least float32 would overflow in the gradient."""


def mean_over_ranks(loss_Q: torch.Tensor, weight_Q: torch.Tensor, group: ProcessGroup | None = None) -> torch.Tensor:
    """This rank's share of the weighted mean over the anchors of all ranks.

        L_r = R sum_{i on r} w_i L_i / sum_{i anywhere} w_i

    Args:
        loss_Q: Losses of this rank's anchors.
        weight_Q: Their weights, 0 or more, 0 for an anchor without a positive; no gradient flows into them.
        group: Ranks that train together; all by default.

    Returns:
        Scalar. The mean of it over the R ranks is the loss of one process with the whole batch, and so is the mean
        of the gradients, which is what DDP takes; also where ranks hold unlike numbers of anchors. With one process:
        the weighted mean.

    Pitfalls:
        On one rank alone it is no mean of anything: log its mean over ranks.
        Only the ratio of weights counts: a batch of clicks alone trains as strongly as a batch of purchases. That keeps
        the size of a step independent of which signals happened to meet.

    Source: weights by signal are our choice; MOON trains on purchases alone.
    """
    weight_Q = weight_Q.detach().to(loss_Q.dtype)
    total = _over_ranks(weight_Q.sum(), group)
    return num_ranks(group) * (weight_Q * loss_Q).sum() / total.clamp(min=LEAST_WEIGHT)


def means_by_view(
    loss_Q: torch.Tensor,
    weight_Q: torch.Tensor,
    view_Q: torch.Tensor,
    num_views: int,
    group: ProcessGroup | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`mean_over_ranks` of each view alone: what MOON2.0's L_inter = sum_v omega_v L_v is made of.

    Args:
        loss_Q: Losses of this rank's anchors.
        weight_Q: Their weights, as there.
        view_Q: View of each anchor (query by photo, by words, by both), 0 to `num_views` - 1.
        num_views: How many there are.
        group: Ranks that train together; all by default.

    Returns:
        (V,) this rank's part of each view's mean, zero where no rank has an anchor of it; and (V,) each view's share of
        the weight of all ranks, no gradient, summing to one. The sum of their products is `mean_over_ranks`, so omega
        of one for all views changes nothing.
    """
    weight_Q = weight_Q.detach().to(loss_Q.dtype)
    sums_V = loss_Q.new_zeros(num_views).index_add(0, view_Q, weight_Q * loss_Q)
    totals_V = loss_Q.new_zeros(num_views).index_add(0, view_Q, weight_Q)
    totals_V = _over_ranks(totals_V, group)
    means_V = num_ranks(group) * sums_V / totals_V.clamp(min=LEAST_WEIGHT)
    return means_V, totals_V / totals_V.sum().clamp(min=LEAST_WEIGHT)


def _over_ranks(total: torch.Tensor, group: ProcessGroup | None) -> torch.Tensor:
    if num_ranks(group) > 1:
        total = total.clone()
        dist.all_reduce(total, group=group)
    return total
