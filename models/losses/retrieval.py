"""The retrieval loss over every pool: the batch, the other ranks, past batches.

Shape suffixes: Q queries and products of this rank (row i of both is one pair), T those of all ranks, C candidates
(T and then the queue's), E embedding dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.distributed import ProcessGroup

from models.losses.contrastive import each_info_nce, over_dims, similarities
from models.negatives.codes import EMPTY, CandidateCodes, QueryCodes
from models.negatives.gather import gather_codes, gather_with_grad, rank_of, rows_by_rank
from models.negatives.masks import guarded_above, not_negative, same_category
from models.negatives.queue import NegativeQueue


@dataclass(frozen=True)
class RetrievalOptions:
    """What the configuration decides."""

    dims: tuple[int, ...]
    """Matryoshka lengths, the full one among them."""
    symmetric: bool = True
    """Product -> query beside query -> product."""
    mask_same_group: bool = True
    """Variants of the positive are not its negatives."""
    similarity_guard: float | None = None
    """A candidate this much more similar than the positive is left out, cosine."""
    hard_negative_weight: float = 1.0
    """beta of negatives of the query's own category."""
    spatial: bool = False
    """Products and queries of the other ranks are candidates."""


@dataclass(frozen=True)
class Retrieval:
    """What `retrieval` found."""

    loss_Q: torch.Tensor
    """Loss of each pair: mean over Matryoshka lengths and over the two directions. Reduce it with `mean_over_ranks`."""
    positive_Q: torch.Tensor
    """s_qp, cosine of each query and its positive; no gradient."""
    negative_Q: torch.Tensor
    """s_qn, mean cosine of each query and its allowed negatives, -1 where it has none; no gradient."""
    report: dict[str, torch.Tensor]
    """Counts for the log, no gradient."""


def retrieval(
    queries_QE: torch.Tensor,
    query_codes: QueryCodes,
    products_QE: torch.Tensor,
    product_codes: CandidateCodes,
    scale: torch.Tensor,
    options: RetrievalOptions,
    queue: NegativeQueue | None = None,
    step: int = 0,
    group: ProcessGroup | None = None,
) -> Retrieval:
    """InfoNCE of each query and its product, against all that is known not to answer the query.

        loss_i = 1/2 [ L(q_i; p_i, N_i) + L(p_i; q_i, N'_i) ]

    N_i are the products of all ranks and of past batches that `not_negative` and the similarity guard leave; N'_i the
    queries of all ranks of which product i is an allowed negative.

    Args:
        queries_QE: Unit vectors of this rank's queries.
        query_codes: Their codes.
        products_QE: Unit vectors of the products that answer them, row by row.
        product_codes: Their codes.
        scale: 1 / temperature.
        options: Directions, masks, weights, lengths.
        queue: Past batches; read, not written. Push this rank's products once the loss is taken.
        step: Step of the training, for the queue's warm-up.
        group: Ranks that train together; all by default.

    Returns:
        Losses by pair, cosines for dynamic sample filtering, and counts: mean over queries of allowed negatives
        (`negatives/per_query`), of those of the query's category (`negatives/same_category`), from other ranks
        (`negatives/spatial`), from past batches (`negatives/queue`); share of candidates left out besides the positive
        (`negatives/masked_frac`); share of queries to which their own product is nearer than any of this rank's that is
        known not to answer (`batch/recall@1`).

    Relations:
        Without other ranks, queue, guard and beta: the paper's in-batch InfoNCE. L is `each_info_nce`.

    Pitfalls:
        The queue has no queries, so product -> query has fewer negatives than query -> product, and a lower loss.
        With `spatial`, all ranks must call it in the same step, also a rank whose weights are all zero.

    Source: MOON, arXiv 2508.11999: negatives in the batch, of the category, of past batches, of other GPUs. The paper
    leaves open symmetry and every mask.
    """
    every = _Everyone.of(queries_QE, query_codes, products_QE, product_codes, options.spatial, group)
    num = len(queries_QE)
    own_Q = every.first + torch.arange(num, device=queries_QE.device)
    pool_CE, pool = every.products_TE, every.product_codes
    if queue is not None:
        past_SE, past = queue.view(step, fresh=pool)
        pool_CE, pool = torch.cat((pool_CE, past_SE.to(pool_CE.dtype))), pool.followed_by(past)
    with torch.no_grad():
        cosine_QC = similarities(queries_QE, pool_CE)
        s_T = (every.queries_TE.to(cosine_QC.dtype) * every.products_TE.to(cosine_QC.dtype)).sum(dim=1)
    s_Q = s_T[every.first : every.first + num]

    positive_QC = _marked(own_Q, len(pool))
    counted_QC = ~not_negative(query_codes, pool, options.mask_same_group) | positive_QC
    allowed_QC = counted_QC & ~positive_QC
    if options.similarity_guard is not None:
        allowed_QC &= ~guarded_above(cosine_QC, s_Q, options.similarity_guard)
    alike_QC = same_category(query_codes, pool)
    loss_Q = _loss(queries_QE, pool_CE, positive_QC, allowed_QC, alike_QC, scale, options)
    if options.symmetric:
        loss_Q = 0.5 * (loss_Q + _turned(every, products_QE, product_codes, own_Q, s_T, scale, options))

    num_Q = allowed_QC.sum(dim=1)
    mean_Q = (cosine_QC * allowed_QC).sum(dim=1) / num_Q.clamp(min=1)
    report = _counts(allowed_QC, alike_QC, pool, own_Q, num_now=len(every.product_codes))
    # Without the guard, which leaves out what lies nearer than the own product.
    counted_cosine_QC = cosine_QC.masked_fill(~counted_QC, -torch.inf)
    nearest_Q = counted_cosine_QC[:, every.first : every.first + num].argmax(dim=1) if num else own_Q
    report["batch/recall@1"] = (nearest_Q + every.first == own_Q).sum() / max(num, 1)
    return Retrieval(loss_Q, s_Q, torch.where(num_Q > 0, mean_Q, -1.0), report)


@dataclass(frozen=True)
class _Everyone:
    """Queries and products of all ranks, or of this one alone."""

    queries_TE: torch.Tensor
    query_codes: QueryCodes
    products_TE: torch.Tensor
    product_codes: CandidateCodes
    first: int
    """Row at which this rank's begin."""

    @classmethod
    def of(
        cls,
        queries_QE: torch.Tensor,
        query_codes: QueryCodes,
        products_QE: torch.Tensor,
        product_codes: CandidateCodes,
        spatial: bool,
        group: ProcessGroup | None,
    ) -> _Everyone:
        if not spatial:
            return cls(queries_QE, query_codes, products_QE, product_codes, 0)
        rows = rows_by_rank(len(queries_QE), queries_QE.device, group)
        return cls(
            gather_with_grad(queries_QE, group, rows),
            gather_codes(query_codes, group),
            gather_with_grad(products_QE, group, rows),
            gather_codes(product_codes, group),
            sum(rows[: rank_of(group)]),
        )


def _turned(
    every: _Everyone,
    products_QE: torch.Tensor,
    product_codes: CandidateCodes,
    own_Q: torch.Tensor,
    s_T: torch.Tensor,
    scale: torch.Tensor,
    options: RetrievalOptions,
) -> torch.Tensor:
    """Product -> query: this rank's products against all queries, where the query would allow the product."""
    positive_QT = _marked(own_Q, len(every.query_codes))
    allowed_QT = ~(not_negative(every.query_codes, product_codes, options.mask_same_group).T | positive_QT)
    if options.similarity_guard is not None:
        with torch.no_grad():
            cosine_TQ = similarities(every.queries_TE, products_QE)
        allowed_QT &= ~guarded_above(cosine_TQ, s_T, options.similarity_guard).T
    alike_QT = same_category(product_codes, every.query_codes)
    return _loss(products_QE, every.queries_TE, positive_QT, allowed_QT, alike_QT, scale, options)


def _marked(own_Q: torch.Tensor, num: int) -> torch.Tensor:
    """(Q, num) bool, True at each row's own column."""
    return own_Q.unsqueeze(1) == torch.arange(num, device=own_Q.device)


def _loss(
    left_QE: torch.Tensor,
    right_CE: torch.Tensor,
    positive_QC: torch.Tensor,
    negative_QC: torch.Tensor,
    alike_QC: torch.Tensor,
    scale: torch.Tensor,
    options: RetrievalOptions,
) -> torch.Tensor:
    beta = options.hard_negative_weight
    log_weight_QC = alike_QC * math.log(beta) if beta != 1.0 else None
    return over_dims(
        lambda left, right: each_info_nce(similarities(left, right) * scale, positive_QC, negative_QC, log_weight_QC),
        options.dims,
        left_QE,
        right_CE,
    )


def _counts(
    allowed_QC: torch.Tensor, alike_QC: torch.Tensor, pool: CandidateCodes, own_Q: torch.Tensor, num_now: int
) -> dict[str, torch.Tensor]:
    num = max(len(own_Q), 1)
    now_C = torch.arange(len(pool), device=own_Q.device) < num_now
    here_C = torch.isin(torch.arange(len(pool), device=own_Q.device), own_Q)
    possible = len(own_Q) * ((pool.product_N != EMPTY).sum() - 1)
    return {
        "negatives/per_query": allowed_QC.sum() / num,
        "negatives/same_category": (allowed_QC & alike_QC).sum() / num,
        "negatives/spatial": allowed_QC[:, now_C & ~here_C].sum() / num,
        "negatives/queue": allowed_QC[:, ~now_C].sum() / num,
        "negatives/masked_frac": 1.0 - allowed_QC.sum() / possible.clamp(min=1),
    }
