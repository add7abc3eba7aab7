"""Exact top-k of many queries among millions of candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from validation.errors import BenchmarkError
from validation.search.tiles import Lists, Pairs, Progress, Rows, Tile, Tiles, Vectors, float32_products

_PAIRS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class TopK:
    """The best candidates of each query, best first."""

    indices: np.ndarray
    """(Q, k) int64"""
    scores: np.ndarray
    """(Q, k) float64: dot products of the vectors as given, summed in float64."""


def top_k(
    queries: Vectors,
    candidates: Vectors,
    k: int,
    *,
    excluded: Lists | None = None,
    block_mib: float = 64.0,
    device: str = "auto",
    progress: Progress | None = None,
) -> TopK:
    """Find the k best candidates of each query by dot product.

    Exactly the first k of all candidates sorted by (float64 score, lowest index first), for every block size: scores
    are sieved in float32, and what could be among the k is scored again in float64 (validation/search/tiles.py).
    Equal vectors score the same to the last bit, so equals always stand in the candidates' order.

    Time grows linearly with candidates. An encoder that gives different vectors whose scores all lie within 3e-5 of
    each other costs many times more: nothing can be sieved then.

    Args:
        queries: (Q, D) float32, float16 or bfloat16, numpy or torch; may be memory-mapped.
        candidates: (N, D), likewise.
        k: Candidates a query, 1 <= k <= N less the excluded.
        excluded: For each query the indices of candidates that are none of its own, such as itself.
        block_mib: Most memory of one block of scores with what is made of it, MiB.
        device: `auto` (the GPU where there is one), `cpu`, `cuda` or `cuda:N`.
        progress: Called after each block with scores done and scores in all.

    Raises:
        BenchmarkError: Fewer than k candidates are left for a query, or k below 1.
        ValueError: No rows, widths that differ, a vector that is not finite, an index that does not exist.
    """
    asked, pool = Rows(queries, "queries"), Rows(candidates, "candidates")
    hidden = Pairs(excluded if excluded is not None else [()] * asked.count, asked.count, pool.count, "excluded")
    most_hidden = int(hidden.counts.max())
    if not 1 <= k <= pool.count - most_hidden:
        raise BenchmarkError(
            "the pool is smaller than k" if k >= 1 else "k is below 1",
            where=f"query {int(hidden.counts.argmax())}" if most_hidden else "",
            got=f"k = {k}, {pool.count} candidates, {most_hidden} of them excluded",
            allowed=f"k from 1 to {pool.count - most_hidden}",
            fix="ask for fewer, or leave these queries out",
        )
    best = _Best(asked.count, k)
    with float32_products():
        tiles = Tiles(asked, pool, [hidden] if most_hidden else [], block_mib, device)
        tiles.run(lambda tile: _pour(tile, best, k + most_hidden), progress)
    return TopK(best.indices, best.scores)


class _Best:
    """The k best of each query so far."""

    def __init__(self, count: int, k: int) -> None:
        self.scores = np.full((count, k), -np.inf)
        self.indices = np.full((count, k), -1, dtype=np.int64)

    def add(self, queries: np.ndarray, candidates: np.ndarray, scores: np.ndarray) -> None:
        """Merge pairs in: `queries` ascending; candidates above all that were added before, so that equals lose."""
        better = scores > self.scores[queries, -1]
        queries, candidates, scores = queries[better], candidates[better], scores[better]
        if not len(queries):
            return
        changed, at = np.unique(queries, return_inverse=True)
        k = self.scores.shape[1]
        row = np.concatenate([np.repeat(np.arange(len(changed)), k), at])
        score = np.concatenate([self.scores[changed].ravel(), scores])
        index = np.concatenate([self.indices[changed].ravel(), candidates])
        order = np.lexsort((index, -score, row))
        starts = np.searchsorted(row[order], np.arange(len(changed)))
        kept = order[starts[:, None] + np.arange(k)]
        self.scores[changed], self.indices[changed] = score[kept], index[kept]


def _pour(tile: Tile, best: _Best, copies: int) -> None:
    """Score in float64 what could be among the k best, and little else; merge it.

    Args:
        copies: So many equal vectors before a candidate keep it out. A collapsed encoder gives the same vector to
            all: nearly all of them are then kept out.
    """
    scores, k = tile.scores, best.scores.shape[1]
    queries = slice(tile.first_query, tile.first_query + len(scores))
    bar = _bar(best.scores[queries, -1] - tile.margin, scores)
    rows = (scores.amax(dim=1) >= bar).nonzero()[:, 0]
    if not len(rows):
        return
    if len(rows) < len(scores):
        scores, bar = scores[rows], bar[rows]
    passes = scores >= bar[:, None]
    many = 4 * k * len(rows)
    if k < scores.shape[1] and int(passes.count_nonzero()) > many:
        # The k-th best of the tile alone is a bar as well: k others are then certainly better.
        kth = scores.topk(k, dim=1).values.amin(dim=1).double().cpu().numpy()
        bar = torch.maximum(bar, _bar(kth - 2 * tile.margin[rows.cpu().numpy()], scores))
        passes = scores >= bar[:, None]
        if int(passes.count_nonzero()) > many:
            passes &= torch.from_numpy(tile.block.copies_before < copies).to(passes.device)
    step = max(1, _PAIRS_AT_ONCE // scores.shape[1])
    for start in range(0, len(rows), step):
        found = passes[start : start + step].nonzero()
        row, column = rows[found[:, 0] + start].cpu().numpy(), found[:, 1].cpu().numpy()
        best.add(row + tile.first_query, column + tile.block.first, tile.exact(row, column))


def _bar(bar: np.ndarray, scores: Tensor) -> Tensor:
    """float32 bars not above these float64 ones, and above the -inf of hidden pairs."""
    lower = np.nextafter(bar.astype(np.float32), np.float32(-np.inf))
    return torch.from_numpy(np.maximum(lower, np.finfo(np.float32).min)).to(scores.device)
