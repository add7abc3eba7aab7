"""InfoNCE over any set of positives and negatives.

Shape suffixes: Q queries (anchors), C candidates: the batch, past batches, other ranks; E embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.nn import functional as F

from models.heads import matryoshka

NEVER = -1e9
"""Stands for minus infinity, whose logsumexp over nothing else would have no gradient."""


def each_info_nce(
    logits_QC: torch.Tensor,
    positive_QC: torch.Tensor,
    negative_QC: torch.Tensor,
    log_weight_QC: torch.Tensor | None = None,
) -> torch.Tensor:
    """InfoNCE of each query, with any number of positives and any set of allowed negatives.

        L_i = - 1/|P_i| sum_{p in P_i} log( e^{s_ip} / (e^{s_ip} + sum_{n in N_i} beta_in e^{s_in}) )

    Args:
        logits_QC: Similarities divided by the temperature. Candidates may lie beyond the batch, so C need not be Q.
        positive_QC: True where the candidate answers the query.
        negative_QC: True where the candidate is a negative; a candidate may be neither.
        log_weight_QC: log beta, added to the logits of negatives; None is beta = 1.

    Returns:
        (Q,), zero, with a gradient, for a query without a positive.

    Relations:
        One positive and all others negative: the paper's InfoNCE. Several positives do not push each other away, as
        they would with all of them in one denominator. Taking away negative n of query i lowers L_i by
        -log(1 - e^{s_in} / (e^{s_ip} + sum e^{s_i.})). beta = 2 for one negative is that negative counted twice.

    Pitfalls:
        A query whose negatives are all masked has loss zero and teaches nothing: watch `negatives/per_query`.
        More negatives (queue, other ranks) raise the loss by about the log of their number: do not compare losses
        of runs whose pools differ.

    Source: MOON, arXiv 2508.11999; InfoNCE, arXiv 1807.03748. beta: our choice, the importance weight of hard negatives
    of arXiv 2010.04592 made a constant of "same category".
    """
    assert not bool((positive_QC & negative_QC).any()), "a candidate cannot be positive and negative at once"
    weighted_QC = logits_QC if log_weight_QC is None else logits_QC + log_weight_QC
    negatives_Q = weighted_QC.masked_fill(~negative_QC, NEVER).logsumexp(dim=1)
    query, candidate = positive_QC.nonzero(as_tuple=True)
    # softplus(x) = log(1 + e^x): the loss of a positive against the sum of the negatives, without overflow.
    each = F.softplus(negatives_Q[query] - logits_QC[query, candidate])
    total_Q = torch.zeros_like(negatives_Q).index_add(0, query, each)
    return total_Q / positive_QC.sum(dim=1).clamp(min=1)


def over_dims(loss: Callable[..., torch.Tensor], dims: Iterable[int], *vectors_NE: torch.Tensor) -> torch.Tensor:
    """Matryoshka: mean over lengths of a loss of prefixes, each normalised again.

    Args:
        loss: Takes the prefixes, one argument for each of `vectors_NE`; a scalar or a loss by row.
        dims: Lengths to be served, the full one among them.
        vectors_NE: Unit vectors of full length.

    Returns:
        What `loss` returns, averaged over the lengths.

    Pitfalls:
        The first numbers are in every prefix and get the most gradient: short prefixes cost the full length a little.

    Source: Matryoshka representation learning, arXiv 2205.13147, eq. 1 with equal weights; MOON has one length.
    """
    losses = [loss(*(matryoshka(vectors, length) for vectors in vectors_NE)) for length in dims]
    return torch.stack(losses).mean(dim=0)


def similarities(left_QE: torch.Tensor, right_CE: torch.Tensor) -> torch.Tensor:
    """Dot products in float32, also where the forward pass runs in bf16.

    A cosine near 1 in bf16 is off by up to 0.002, which a temperature of 0.01 makes 0.2 in the logit.

    Returns:
        (Q, C) float32, or float64 where the vectors are.
    """
    with torch.autocast(left_QE.device.type, enabled=False):
        if left_QE.dtype is torch.float64:
            return left_QE @ right_CE.to(torch.float64).T
        return left_QE.float() @ right_CE.float().T
