"""Which candidates may count as negatives: everything that may well be an answer is left out.

All functions return (Q, C) bool and hold no loop over queries, candidates, or what a row lists.

Shape suffixes: Q queries, C candidates, U distinct codes, A accepted products, F photographs or facts, S facts of a
text.
"""

from __future__ import annotations

import torch

from models.negatives.codes import EMPTY, CandidateCodes, KeyCodes, QueryCodes


def not_negative(queries: QueryCodes, candidates: CandidateCodes, mask_same_group: bool = True) -> torch.Tensor:
    """The candidate must not be a negative of the query, for what is known of both.

    It is the product that answered, or (switchable) a variant of it; another product accepted for this very query; it
    owns the photograph that the query shows; or it is no product at all (an unused or replaced place in a queue).

    Args:
        queries: Q queries.
        candidates: C candidates of any pool: batch, queue, other ranks.
        mask_same_group: Whether variants of the answer are left out.

    Returns:
        (Q, C) bool; True for the query's own positive too.

    Source: our choice; MOON (arXiv 2508.11999) describes no masks, and with hard negatives of one category, repeat
    purchases and a queue of past batches the chance that a negative is an answer is no longer small.
    """
    blocked_QC = related(queries, candidates, mask_same_group)
    blocked_QC |= _listed(queries.accepted_NA, candidates.product_N)
    blocked_QC |= _listed(candidates.photos_NF, queries.photo_N).T
    return blocked_QC | (candidates.product_N == EMPTY)


def related(left: KeyCodes, right: KeyCodes, mask_same_group: bool = True) -> torch.Tensor:
    """Both are one product or, where `mask_same_group`, variants of one article."""
    same = same_code(left.product_N, right.product_N)
    return same | same_code(left.group_N, right.group_N) if mask_same_group else same


def same_category(left: KeyCodes, right: KeyCodes) -> torch.Tensor:
    """Both are of one known category at the level of the hard negatives."""
    return same_code(left.category_N, right.category_N)


def same_code(left_Q: torch.Tensor, right_C: torch.Tensor) -> torch.Tensor:
    """Equal and not `EMPTY`."""
    return (left_Q.unsqueeze(1) == right_C.unsqueeze(0)) & (left_Q != EMPTY).unsqueeze(1)


def _listed(lists_QA: torch.Tensor, codes_C: torch.Tensor) -> torch.Tensor:
    """Row q lists code c.

    Through the distinct codes, so that time and memory are Q x (A + C), not Q x A x C: a popular text query may
    accept hundreds of products.
    """
    distinct_U, number_C = codes_C.unique(return_inverse=True)
    num = len(distinct_U)
    if not num:
        return torch.zeros((len(lists_QA), 0), dtype=torch.bool, device=lists_QA.device)
    place_QA = torch.searchsorted(distinct_U, lists_QA.contiguous()).clamp(max=num - 1)
    found_QA = (distinct_U[place_QA] == lists_QA) & (lists_QA != EMPTY)
    listed_QU = torch.zeros((len(lists_QA), num + 1), dtype=torch.bool, device=lists_QA.device)
    # What was not found is written into a column of its own, which is thrown away.
    listed_QU.scatter_(1, torch.where(found_QA, place_QA, num), True)
    return listed_QU[:, number_C]


def described(facts_QS: torch.Tensor, facts_CF: torch.Tensor) -> torch.Tensor:
    """Everything that a text says of its own product is true of the candidate too.

    Args:
        facts_QS: Codes of the S facts that each text names; padded with `EMPTY`. A text of no known fact describes
            nothing.
        facts_CF: Codes of all facts that are true of each candidate; padded likewise.

    Source: our choice. A text view such as "red Mugs" would push away every other red mug of the batch.
    """
    distinct_U, place_QS = facts_QS.unique(return_inverse=True)
    said_QU = torch.zeros((len(facts_QS), len(distinct_U)), device=facts_QS.device).scatter_(1, place_QS, 1.0)
    said_QU[:, distinct_U == EMPTY] = 0.0
    untrue_UC = (~_listed(facts_CF, distinct_U)).T.to(said_QU.dtype)
    # A product of matrices counts the facts that are not true: no Q x C x S is held.
    return (said_QU @ untrue_UC == 0) & (said_QU.sum(dim=1, keepdim=True) > 0)


def guarded_above(similarity_QC: torch.Tensor, positive_Q: torch.Tensor, margin: float) -> torch.Tensor:
    """The candidate is more similar to the query than its positive is, by more than `margin`.

    Relative, not absolute: at the start all vectors lie close together, and an absolute bound would mask everything.

    Args:
        similarity_QC: Cosines; no gradient flows through the decision.
        positive_Q: Of each query and its positive, which is perhaps not among the candidates.
        margin: In cosine, 0 to 2.
    """
    return similarity_QC.detach() > positive_Q.detach().unsqueeze(1) + margin
