"""How much each query counts: by the shopper's signal, and by how far the model may trust the pair.

Shape suffixes: Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch


def query_weight(signal: str, row_weight: float, weights: Mapping[str, float] | None) -> float:
    """Weight of a training pair.

    Args:
        signal: What the shopper did: purchase, cart, click, or none for pairs made from the catalogue itself.
        row_weight: The query row's own weight.
        weights: Weight by signal; None lets the row's own stand.

    Returns:
        One or the other, never their product: a source that already weighs its signals would weigh them twice.

    Source: our choice; MOON trains on purchases alone.
    """
    return row_weight if weights is None else weights[signal]


def margin_at(done_frac: float, start: float, end: float) -> float:
    """The margin m of `trust`, a straight line from `start` to `end`.

    Args:
        done_frac: Share of the training that is done, 0 to 1.
        start: Margin at step 0, in cosine.
        end: Margin at the last step.

    Source: MOON2.0 says that m decays; the straight line is our choice.
    """
    return start + (end - start) * min(max(done_frac, 0.0), 1.0)


def trust(positive_Q: torch.Tensor, negative_Q: torch.Tensor, kappa: float, margin: float) -> torch.Tensor:
    """How much better a query fits its positive than a negative, 0 to 1.

        phi = sigmoid(kappa (s_qp - s_qn - m))

    Args:
        positive_Q: s_qp, cosine of each query and its positive.
        negative_Q: s_qn, cosine of each query and a negative: see `filter_weights`.
        kappa: Steepness, per unit of cosine.
        margin: m.

    Source: MOON2.0, arXiv 2511.12449, dynamic sample filtering; kappa is not given there.
    """
    return torch.sigmoid(kappa * (positive_Q - negative_Q - margin))


def filter_weights(
    positive_Q: torch.Tensor,
    negative_Q: torch.Tensor,
    *,
    kappa: float,
    margin: float,
    threshold: float = 0.6,
    lowest: float = 0.1,
) -> torch.Tensor:
    """Weight of each query after dynamic sample filtering: one, and less where the pair is not to be trusted.

        w = 1 where phi >= threshold, else max(lowest, phi / threshold)

    Args:
        positive_Q: s_qp, cosines.
        negative_Q: s_qn, cosines. `retrieval` gives the mean over the query's allowed negatives.
        kappa: Steepness, above 0.
        margin: m, from `margin_at`.
        threshold: phi below it is weighted down; 0 to 1.
        lowest: No weight is below it, so that a pair can earn its trust back.

    Returns:
        (Q,) in [lowest, 1], without gradient; multiply with the weights by signal.

    Pitfalls:
        Only ratios count in a weighted mean: at step 0, where all cosines are alike, all weights are alike and nothing
        is filtered. A hard query looks like a wrong one; watch the share of queries weighted down.

    Source: MOON2.0, arXiv 2511.12449: phi < 0.6 is down-weighted. Ours: how (in proportion, so that the weight does not
    jump), the floor, and s_qn. The paper's negative is one exposed product of low relevance; catalogues without
    exposures have none, and the mean over the pool is what one random negative is on average. The hardest of a large
    pool would be above the positive for nearly every query and thus say nothing.
    """
    phi_Q = trust(positive_Q.detach(), negative_Q.detach(), kappa, margin)
    return (phi_Q / threshold).clamp(min=lowest, max=1.0)
