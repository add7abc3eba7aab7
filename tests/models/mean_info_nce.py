"""The contrastive loss of a batch as one number, of the losses' own parts: what closed forms are held against."""

from __future__ import annotations

import torch

from models.losses import each_info_nce, mean_over_ranks


def info_nce(
    logits_QC: torch.Tensor,
    positive_QC: torch.Tensor,
    negative_QC: torch.Tensor,
    weight_Q: torch.Tensor | None = None,
    log_weight_QC: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted mean of `each_info_nce` over the queries that have a positive; a scalar."""
    loss_Q = each_info_nce(logits_QC, positive_QC, negative_QC, log_weight_QC)
    has_positive_Q = positive_QC.any(dim=1).to(loss_Q.dtype)
    return mean_over_ranks(loss_Q, has_positive_Q if weight_Q is None else has_positive_Q * weight_Q)


def symmetric_info_nce(
    logits_QC: torch.Tensor,
    positive_QC: torch.Tensor,
    negative_QC: torch.Tensor,
    weight_Q: torch.Tensor | None = None,
    weight_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean of `info_nce` from queries to candidates and from candidates to queries, each with its weights."""
    forward = info_nce(logits_QC, positive_QC, negative_QC, weight_Q)
    return 0.5 * (forward + info_nce(logits_QC.T, positive_QC.T, negative_QC.T, weight_C))
