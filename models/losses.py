"""The contrastive losses and the temperature they share.

Shape suffixes: Q queries, C candidates, E embedding dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import nn

NEVER = -1e9
"""Stands for minus infinity, whose logsumexp over nothing else would have no gradient."""


class Temperature(nn.Module):
    """A learnt temperature, kept above a floor.

    Args:
        start: Temperature at step 0.
        lowest: Below it the loss would look at the single hardest negative alone.
    """

    def __init__(self, start: float, lowest: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1.0 / start)))
        self.highest = math.log(1.0 / lowest)

    @property
    def scale(self) -> torch.Tensor:
        """1 / temperature, a scalar."""
        return self.log_scale.clamp(max=self.highest).exp()

    def clamp_(self) -> None:
        """Bring the parameter itself back into bounds, so that its gradient does not stay zero."""
        with torch.no_grad():
            # A little below: rounded to float32 the bound itself may lie above the bound, where the gradient is zero.
            self.log_scale.clamp_(max=self.highest - 1e-4)


def info_nce(logits_QC: torch.Tensor, positive_QC: torch.Tensor, negative_QC: torch.Tensor) -> torch.Tensor:
    """InfoNCE with any number of positives a query and any set of allowed negatives.

        L_i = - 1/|P_i| sum_{p in P_i} log( e^{s_ip} / (e^{s_ip} + sum_{n in N_i} e^{s_in}) )

    Args:
        logits_QC: Similarities divided by the temperature.
        positive_QC: True where the candidate answers the query.
        negative_QC: True where the candidate is a negative; a candidate may be neither.

    Returns:
        Mean over the queries that have a positive; zero, with a gradient, when none has.

    Relations:
        One positive and all others negative: the paper's InfoNCE. Several positives do not push each other away, as
        they would with all of them in one denominator. Taking away negative n of query i lowers L_i by
        -log(1 - e^{s_in} / (e^{s_ip} + sum e^{s_i.})).

    Pitfalls:
        A query whose negatives are all masked has loss zero and teaches nothing: watch `num_negatives`.

    Source: MOON, arXiv 2508.11999; InfoNCE, arXiv 1807.03748.
    """
    assert not bool((positive_QC & negative_QC).any()), "a candidate cannot be positive and negative at once"
    negatives_Q = logits_QC.masked_fill(~negative_QC, NEVER).logsumexp(dim=1)
    # softplus(x) = log(1 + e^x): the loss of a positive against the sum of the negatives, without overflow.
    each_QC = torch.nn.functional.softplus(negatives_Q.unsqueeze(1) - logits_QC)
    count_Q = positive_QC.sum(dim=1)
    loss_Q = torch.where(positive_QC, each_QC, 0.0).sum(dim=1) / count_Q.clamp(min=1)
    num = (count_Q > 0).sum()
    return torch.where(count_Q > 0, loss_Q, 0.0).sum() / num.clamp(min=1)


def symmetric_info_nce(logits_QC: torch.Tensor, positive_QC: torch.Tensor, negative_QC: torch.Tensor) -> torch.Tensor:
    """Mean of `info_nce` from queries to candidates and from candidates to queries."""
    forward = info_nce(logits_QC, positive_QC, negative_QC)
    return 0.5 * (forward + info_nce(logits_QC.T, positive_QC.T, negative_QC.T))
