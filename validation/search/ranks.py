"""Where the right product stands: ranks from scores, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from catalog.labels import TIE_TOLERANCE


def ranks_of_relevant(
    queries: np.ndarray,
    candidates: np.ndarray,
    relevant: Sequence[Sequence[int]],
    *,
    excluded: Sequence[Sequence[int]] | None = None,
    block_mib: int = 64,
) -> list[np.ndarray]:
    """Ranks of all relevant candidates of each query.

    The i-th best of them has rank i + the number of candidates, neither relevant nor excluded, that score at least as
    high. Ties count against the encoder, so one that gives every product the same vector comes last everywhere. Scores
    within TIE_TOLERANCE are a tie: BLAS may round two equal dot products differently, depending on where they lie in
    its tiles.

    Args:
        queries: (Q, D) float32.
        candidates: (N, D) float32.
        relevant: For each query the indices of its relevant candidates, at least one.
        excluded: For each query candidates that do not count.
        block_mib: Most memory for one block of scores.

    Returns:
        For each query its ranks, ascending, from 1, int64.

    Raises:
        ValueError: A query without a relevant candidate, or a score that is not a number.
    """
    if len(relevant) != len(queries):
        raise ValueError(f"{len(queries)} queries but {len(relevant)} lists of relevant candidates")
    ranks = []
    rows_a_block = max(1, (block_mib << 20) // max(1, 4 * len(candidates)))
    for start in range(0, len(queries), rows_a_block):
        stop = min(start + rows_a_block, len(queries))
        scores = queries[start:stop] @ candidates.T
        if not np.isfinite(scores).all():
            raise ValueError("a score is not a finite number: a rank would be meaningless")
        for row in range(stop - start):
            own = np.asarray(relevant[start + row], dtype=np.int64)
            if own.size == 0:
                raise ValueError(f"query {start + row} has no relevant candidate")
            counts = np.ones(len(candidates), dtype=bool)
            counts[own] = False
            if excluded is not None:
                counts[list(excluded[start + row])] = False
            best = np.sort(scores[row, own])[::-1]
            others = np.sort(scores[row, counts])
            ahead = len(others) - np.searchsorted(others, best - TIE_TOLERANCE, side="left")
            ranks.append(np.arange(1, len(own) + 1) + ahead)
    return ranks


def ranks_of_best(
    queries: np.ndarray, candidates: np.ndarray, relevant: Sequence[Sequence[int]], *, block_bytes: int = 64 << 20
) -> np.ndarray:
    """Rank of each query's best relevant candidate among the candidates that are not relevant.

    rank = 1 + the number of other candidates, none of them relevant, that score at least as high. Ties count against
    the encoder, so one that gives every product the same vector comes last everywhere. Scores within TIE_TOLERANCE
    are a tie: BLAS may round two equal dot products differently, depending on where they lie in its tiles.

    Args:
        queries: (Q, D) float32.
        candidates: (N, D) float32.
        relevant: For each query the indices of its relevant candidates, at least one.
        block_bytes: Most memory for one block of scores.

    Returns:
        (Q,) int64, from 1.

    Raises:
        ValueError: A query without a relevant candidate, or a score that is not a number.
    """
    if len(relevant) != len(queries):
        raise ValueError(f"{len(queries)} queries but {len(relevant)} lists of relevant candidates")
    ranks = np.empty(len(queries), dtype=np.int64)
    rows_a_block = max(1, block_bytes // max(1, 4 * len(candidates)))
    for start in range(0, len(queries), rows_a_block):
        stop = min(start + rows_a_block, len(queries))
        scores = queries[start:stop] @ candidates.T
        if not np.isfinite(scores).all():
            raise ValueError("a score is not a finite number: a rank would be meaningless")
        for row in range(stop - start):
            own = np.asarray(relevant[start + row], dtype=np.int64)
            if own.size == 0:
                raise ValueError(f"query {start + row} has no relevant candidate")
            at_least = scores[row] >= scores[row, own].max() - TIE_TOLERANCE
            at_least[own] = False
            ranks[start + row] = 1 + int(at_least.sum())
    return ranks


def top_hits(queries: np.ndarray, candidates: np.ndarray, k: int, *, block_bytes: int = 64 << 20) -> np.ndarray:
    """Indices of the k best candidates of each query, best first; equal scores in the candidates' order.

    Returns:
        (Q, min(k, N)) int64.
    """
    k = min(k, len(candidates))
    best = np.empty((len(queries), k), dtype=np.int64)
    rows_a_block = max(1, block_bytes // max(1, 4 * len(candidates)))
    for start in range(0, len(queries), rows_a_block):
        scores = queries[start : start + rows_a_block] @ candidates.T
        best[start : start + rows_a_block] = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return best
