"""Where the right products stand: ranks from scores, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from catalog.labels import TIE_TOLERANCE
from validation.search.tiles import Lists, Pairs, Progress, Rows, Tile, Tiles, Vectors, dot64, float32_products

_MANY_RELEVANT = 200
"""From so many thresholds a query on, bins are faster: measured, 32 ms a tile against 0.15 ms for each threshold."""
_MUCH_OPEN = 1 / 32
"""Share of open scores from which all in float64 are faster: measured, 0.2 us a pair against 10 ms a tile."""


def ranks_of_relevant(
    queries: Vectors,
    candidates: Vectors,
    relevant: Lists,
    *,
    excluded: Lists | None = None,
    block_mib: float = 64.0,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """Rank every relevant candidate of each query.

    The i-th best relevant candidate has rank i + the number of candidates, neither relevant nor excluded, that score
    at least as high less TIE_TOLERANCE. Ties thus count against the encoder: one that gives every product the same
    vector ranks its first right one behind all wrong ones. Relevant ones never stand in each other's way.

    Scores are compared as in float64, so ranks are the same for every block size and on every device
    (validation/search/tiles.py).

    Args:
        queries: (Q, D) float32, float16 or bfloat16, numpy or torch; may be memory-mapped.
        candidates: (N, D), likewise.
        relevant: For each query the indices of its relevant candidates, at least one; one named twice counts once.
        excluded: For each query the indices of candidates that take no part, none of them relevant.
        block_mib: Most memory of one block of scores with what is made of it, MiB.
        device: `auto` (the GPU where there is one), `cpu`, `cuda` or `cuda:N`.
        progress: Called after each block with scores done and scores in all.

    Returns:
        For each query its ranks, int64, ascending, from 1.

    Raises:
        ValueError: A query without a relevant candidate or with one that is excluded, no rows, widths that differ,
            a vector that is not finite, an index that does not exist.
    """
    own = _Own(queries, candidates, relevant)
    out = Pairs(_in(own.order, excluded), own.asked.count, own.pool.count, "excluded") if excluded is not None else None
    if out is not None and (both := np.intersect1d(own.pairs.keys, out.keys)).size:
        query, candidate = own.order[both[0] // own.pool.count], both[0] % own.pool.count
        raise ValueError(f"query {query}: candidate {candidate} is relevant and excluded")
    with float32_products():
        hidden = [own.pairs] if out is None else [own.pairs, out]
        Tiles(own.asked, own.pool, hidden, block_mib, device).run(own.count, progress)
    return own.ranks()


class _Own:
    """The relevant candidates' thresholds and, for each, how many others reach it.

    Queries with as many relevant candidates stand together, so that a tile's thresholds make a full table.
    """

    def __init__(self, queries: Vectors, candidates: Vectors, relevant: Lists) -> None:
        count = Rows(queries, "queries").count
        if len(relevant) != count:
            raise ValueError(f"{count} queries but {len(relevant)} lists of relevant candidates")
        sizes = np.fromiter(map(len, relevant), dtype=np.int64, count=count)
        if not sizes.all():
            raise ValueError(f"query {int(np.argmin(sizes))} has no relevant candidate")
        self.order = np.argsort(sizes, kind="stable")
        self.asked = Rows(queries, "queries", self.order)
        self.pool = Rows(candidates, "candidates")
        self.pairs = Pairs(_in(self.order, relevant), count, self.pool.count, "relevant")
        if self.asked.dims != self.pool.dims:
            raise ValueError(f"queries are {self.asked.dims} wide and candidates {self.pool.dims}: two encoders?")
        scores = self._scores()
        best_first = np.lexsort((-scores, self.pairs.queries))
        self._thresholds = scores[best_first] - TIE_TOLERANCE
        self._starts = np.concatenate([[0], np.cumsum(self.pairs.counts)])
        self._ahead = np.zeros(len(scores), dtype=np.int64)

    def _scores(self) -> np.ndarray:
        step = max(1, (1 << 20) // self.pool.dims)
        parts = [slice(at, at + step) for at in range(0, len(self.pairs.keys), step)]
        of = self.pairs
        with np.errstate(invalid="ignore", over="ignore"):
            scores = [dot64(self.asked.pick(of.queries[p]), self.pool.pick(of.candidates[p])) for p in parts]
        return np.concatenate(scores)

    def ranks(self) -> list[np.ndarray]:
        """For each query, in the order given, its ranks."""
        found = [np.empty(0, dtype=np.int64)] * len(self.order)
        for place, query in enumerate(self.order):
            ahead = self._ahead[self._starts[place] : self._starts[place + 1]]
            found[int(query)] = ahead + np.arange(1, len(ahead) + 1)
        return found

    def count(self, tile: Tile) -> None:
        """Add the tile's candidates to all that they reach."""
        counts = self.pairs.counts[tile.first_query : tile.first_query + len(tile.scores)]
        place = np.arange(counts.max())
        there = place < counts[:, None]
        at = self._starts[tile.first_query : tile.first_query + len(counts), None] + place
        # Nothing reaches the thresholds that pad a shorter row.
        thresholds = np.where(there, self._thresholds[np.where(there, at, 0)], np.inf)
        reach = _by_bins if thresholds.shape[1] > _MANY_RELEVANT else _by_comparison
        self._ahead[at[there]] += reach(tile, thresholds)[there]


def _by_comparison(tile: Tile, thresholds: np.ndarray) -> np.ndarray:
    """(R, T) int64: scores of each row that reach each of its thresholds, (R, T) float64."""
    scores, margin = tile.scores, tile.margin[:, None]
    below, above = _float32(thresholds - margin, -np.inf), _float32(thresholds + margin, np.inf)
    reached = torch.empty_like(scores)
    certain, perhaps = (np.stack([_reach(scores, bar, reached) for bar in bars.T], axis=1) for bars in (above, below))
    opened = perhaps - certain
    if opened.sum() > _MUCH_OPEN * scores.numel():
        exact = tile.float64()
        return np.stack([_reach(exact, bar, exact.new_empty(exact.shape)) for bar in thresholds.T], axis=1)
    for column in np.flatnonzero(opened.any(axis=0)):
        rows = np.flatnonzero(opened[:, column])
        some = scores[torch.from_numpy(rows).to(scores.device)]
        low, high = (_column(bars[rows, column], scores) for bars in (below, above))
        row, candidate = ((some >= low) & (some < high)).nonzero().cpu().numpy().T
        row = rows[row]
        reaches = tile.exact(row, candidate) >= thresholds[row, column]
        np.add.at(certain[:, column], row[reaches], 1)
    return certain


def _by_bins(tile: Tile, thresholds: np.ndarray) -> np.ndarray:
    """The same for many thresholds: each score into the bin between the two thresholds that it lies between."""
    scores, device = tile.scores, tile.scores.device
    # The pads of a row are its last, as they were.
    ascending = np.sort(thresholds, axis=1)
    margin = tile.margin[:, None]
    below, above = _float32(ascending - margin, -np.inf), _float32(ascending + margin, np.inf)
    bins, perhaps = (
        torch.searchsorted(torch.from_numpy(bars).to(device), scores, right=True) for bars in (above, below)
    )
    row, candidate = (bins != perhaps).nonzero().cpu().numpy().T
    if len(row) > _MUCH_OPEN * scores.numel():
        bins = torch.searchsorted(torch.from_numpy(ascending).to(device), tile.float64(), right=True)
    else:
        exact = tile.exact(row, candidate)
        settled = np.array([np.searchsorted(ascending[r], s, side="right") for r, s in zip(row, exact, strict=True)])
        at = (torch.from_numpy(row).to(device), torch.from_numpy(candidate).to(device))
        bins[at] = torch.from_numpy(settled.astype(np.int64)).to(device)
    width = thresholds.shape[1] + 1
    flat = bins + width * torch.arange(len(bins), device=device)[:, None]
    counts = torch.bincount(flat.ravel(), minlength=width * len(bins)).view(len(bins), width).cpu().numpy()
    at_least = counts[:, ::-1].cumsum(axis=1)[:, :-1][:, ::-1]
    # Back to best first: the pads of a row are its last in both orders.
    sizes = np.isfinite(thresholds).sum(axis=1)
    place = sizes[:, None] - 1 - np.arange(thresholds.shape[1])
    return np.take_along_axis(at_least, np.where(place >= 0, place, 0), axis=1)


def _reach(scores: Tensor, bars: np.ndarray, reached: Tensor) -> np.ndarray:
    """(R,) int64: scores of each row not below its bar. Floats, since torch adds those up faster than truth values."""
    torch.ge(scores, _column(bars, scores), out=reached)
    return reached.sum(dim=1).to(torch.int64).cpu().numpy()


def _column(bars: np.ndarray, scores: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(bars)).to(scores.device)[:, None]


def _float32(bars: np.ndarray, towards: float) -> np.ndarray:
    """The next float32 beyond each, so that rounding never makes an open score look certain."""
    return np.nextafter(bars.astype(np.float32), np.float32(towards))


def _in(order: np.ndarray, lists: Lists) -> list[Sequence[int]]:
    return [lists[int(query)] for query in order] if len(lists) == len(order) else list(lists)
