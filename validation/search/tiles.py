"""Scores of many queries with many candidates, a tile at a time, and how far each may be from the true number.

The products of a tile are summed in float32, and a kernel may round two equal dot products differently, depending on
where they lie in it. So what is decided from a tile must not depend on the tile: whoever reads one treats its scores
as known to within `Tile.margin` and settles the few that this leaves open by `Tile.exact`, a float64 sum of one pair
in an order of its own, wherever the pair stands. Results are then those of float64 scores, for every size of block.

Source: the margin is the bound of every order of summation, |error| <= D u / (1 - D u) |q| |c| with u = 2^-24
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, equation 3.5, and Cauchy-Schwarz).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Vectors = np.ndarray | Tensor
Progress = Callable[[int, int], None]
"""Called with scores done and scores in all."""
Lists = Sequence[Sequence[int]]

_CPU_TILE, _GPU_TILE = (512, 2048), (4096, 16384)
"""Most queries and candidates of a tile. On a processor its 4 MiB of scores stay in the cache until they are read."""
_MOST_WORKERS = 8
"""More threads that Python drives would wait for its lock; beyond, each gets several cores."""
_WORTH_THREADS = 10**7
"""Products of two numbers; below, one core is done before a second has begun."""
_ROUNDING = 2.0**-24
_LARGEST = 1e37


class Rows:
    """(N, D) vectors, perhaps on disk, read a few at a time as float32.

    Args:
        vectors: float32, float16 or bfloat16; a memory-mapped array stays on disk.
        name: For error messages.
        order: Read row order[i] where row i is asked for.

    Raises:
        ValueError: No (N, D) table, no row or column, or another type of number.
    """

    def __init__(self, vectors: Vectors, name: str, order: np.ndarray | None = None) -> None:
        if vectors.ndim != 2 or 0 in vectors.shape:
            raise ValueError(f"{name}: got shape {tuple(vectors.shape)}, needed (N, D) with at least one of each")
        kind = str(vectors.dtype).removeprefix("torch.")
        if kind not in ("float32", "float16", "bfloat16"):
            raise ValueError(f"{name}: got {kind}, needed float32, float16 or bfloat16")
        self._vectors, self._order, self.name = vectors, order, name
        self.count, self.dims = int(vectors.shape[0]), int(vectors.shape[1])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows of [start, stop), (stop - start, D) float32."""
        return self._float32(slice(start, stop) if self._order is None else self._order[start:stop])

    def pick(self, rows: np.ndarray) -> np.ndarray:
        """Rows by index, (len(rows), D) float32."""
        return self._float32(rows if self._order is None else self._order[rows])

    def _float32(self, which: slice | np.ndarray) -> np.ndarray:
        if isinstance(self._vectors, np.ndarray):
            rows = np.ascontiguousarray(self._vectors[which], dtype=np.float32)
            # Torch takes no array that is read-only, as a memory-mapped one often is.
            return rows if rows.flags.writeable else rows.copy()
        part = self._vectors[which if isinstance(which, slice) else torch.from_numpy(which)]
        return part.detach().to("cpu", torch.float32).contiguous().numpy()

    def norms(self, start: int, stop: int) -> np.ndarray:
        """Lengths of the rows of [start, stop), float64.

        Raises:
            ValueError: A row that holds NaN or infinity.
        """
        return self.checked(_lengths(self.read(start, stop)), start)

    def checked(self, lengths: np.ndarray, start: int) -> np.ndarray:
        """The lengths of rows from `start`, if they are numbers."""
        if not np.isfinite(lengths).all():
            row = start + int(np.argmin(np.isfinite(lengths)))
            raise ValueError(f"{self.name}: row {row} is not finite, or overflows: a score is not a finite number")
        return lengths


class Pairs:
    """For each query some candidates, found again tile by tile.

    Raises:
        ValueError: As many lists as queries are needed, and indices that exist.
    """

    def __init__(self, lists: Lists, num_queries: int, num_candidates: int, name: str) -> None:
        if len(lists) != num_queries:
            raise ValueError(f"{num_queries} queries but {len(lists)} lists of {name} candidates")
        sizes = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        flat = np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=int(sizes.sum()))
        queries = np.repeat(np.arange(num_queries), sizes)
        wrong = (flat < 0) | (flat >= num_candidates)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(f"query {queries[at]}: {name} candidate {flat[at]} is none of {num_candidates}")
        self.keys = np.unique(queries * num_candidates + flat)
        """Each pair once as query x N + candidate, ascending."""
        self.queries, self.candidates = self.keys // num_candidates, self.keys % num_candidates
        self.counts = np.bincount(self.queries, minlength=num_queries)
        by_candidate = np.argsort(self.candidates, kind="stable")
        self._by_candidate = self.queries[by_candidate], self.candidates[by_candidate]

    def of_candidates(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Queries, ascending, and candidates of the pairs whose candidate is in [first, last)."""
        queries, candidates = self._by_candidate
        lo, hi = np.searchsorted(candidates, (first, last))
        order = np.argsort(queries[lo:hi], kind="stable")
        return queries[lo:hi][order], candidates[lo:hi][order]


def dot64(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Dot products of the rows of two (N, D) arrays in float64; each row's is the same whatever rows stand by it.

    Source: numpy sums a contiguous row pairwise, in an order that its length alone decides. A matrix product promises
    no order, and einsum may cut a row where its buffer ends.
    """
    return np.add.reduce(left.astype(np.float64) * right, axis=1)


class Block:
    """Some candidates in a row, read once for all queries."""

    def __init__(self, rows: np.ndarray, first: int, device: torch.device, longest: float, hidden: list[Pairs]) -> None:
        self.rows, self.first, self.longest = rows, first, longest
        self.there = torch.from_numpy(rows).to(device)
        self._hidden = [pairs.of_candidates(first, first + len(rows)) for pairs in hidden]

    def hidden(self, first_query: int, last_query: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows and columns of the hidden pairs within the tile of these queries."""
        found = []
        for queries, candidates in self._hidden:
            lo, hi = np.searchsorted(queries, (first_query, last_query))
            found.append((queries[lo:hi] - first_query, candidates[lo:hi] - self.first))
        return found

    @cached_property
    def copies_before(self) -> np.ndarray:
        """(C,) int64: how many candidates before each, in this block, have the very same vector."""
        raw = np.ascontiguousarray(self.rows).view(np.dtype((np.void, self.rows.itemsize * self.rows.shape[1])))
        _, kind, counts = np.unique(raw[:, 0], return_inverse=True, return_counts=True)
        before = np.empty(len(kind), dtype=np.int64)
        before[np.argsort(kind, kind="stable")] = np.arange(len(kind)) - np.repeat(np.cumsum(counts) - counts, counts)
        return before


@dataclass
class Tile:
    """Scores of some queries with the candidates of a block."""

    first_query: int
    block: Block
    scores: Tensor
    """(R, C) float32 on the device; -inf where a pair is hidden."""
    margin: np.ndarray
    """(R,) float64: no score of a row is further than this from the float64 one."""
    queries: np.ndarray
    """(R, D) float32"""
    hidden: list[tuple[np.ndarray, np.ndarray]]
    pairs_at_once: int

    def exact(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """float64 scores of pairs of the tile, a few at a time."""
        found = np.empty(len(rows), dtype=np.float64)
        for start in range(0, len(rows), self.pairs_at_once):
            part = slice(start, start + self.pairs_at_once)
            found[part] = dot64(self.queries[rows[part]], self.block.rows[columns[part]])
        return found

    def float64(self) -> Tensor:
        """(R, C) float64 scores by a matrix product: for comparisons that 1e-13 does not turn; -inf where hidden."""
        left = torch.from_numpy(self.queries).to(self.scores.device, torch.float64)
        return _hide(left @ self.block.there.double().T, self.hidden)


class Tiles:
    """All tiles of queries x candidates: candidates outside, each read once; queries inside.

    On a processor each thread works on tiles of its own, its products on one core: threads that share each product
    would wait for each other many times a tile, and on a busy machine every wait costs a time slice.

    Args:
        queries: (Q, D).
        candidates: (N, D).
        hidden: Pairs whose score must not count.
        block_mib: Most memory, in MiB, of the tiles in work with all that is made of them; beside it stand only the
            results, and a few numbers a query. Below 1 is allowed.
        device: `auto` is the GPU where there is one, else the processor with as many threads as torch is set to.

    Raises:
        ValueError: Widths that differ, a row that is not finite, numbers so large that a score may overflow, or no
            such setting.
    """

    def __init__(self, queries: Rows, candidates: Rows, hidden: list[Pairs], block_mib: float, device: str) -> None:
        if queries.dims != candidates.dims:
            raise ValueError(f"queries are {queries.dims} wide and candidates {candidates.dims}: two encoders?")
        if not block_mib > 0:
            raise ValueError(f"block_mib: got {block_mib}, needed more than 0")
        self._queries, self._candidates, self._hidden = queries, candidates, hidden
        self._device = _chosen(device)
        budget = int(block_mib * 2**20)
        self._threads, self._workers, self._threads_each = torch.get_num_threads(), 1, 1
        if queries.count * candidates.count * queries.dims > _WORTH_THREADS:
            self._workers = min(self._threads, queries.count, _MOST_WORKERS) if self._device.type == "cpu" else 1
            self._threads_each = max(1, self._threads // self._workers)
        share = budget * 7 // 8 // self._workers
        rows = -(-queries.count // self._workers)
        self._rows, self._columns = tile_shape(rows, candidates.count, queries.dims, share, self._device.type)
        self._blocks_read = max(1, budget // 8 // (self._columns * queries.dims * 4))
        self._pairs_at_once = min(1024, max(1, share // (64 * queries.dims)))
        self._norms = np.concatenate([queries.norms(at, to) for at, to in self._spans(queries.count, self._rows)])
        self._by_onednn = self._device.type == "cpu" and torch.backends.mkldnn.is_available()
        # glibc hands blocks as large as the largest it has yet seen freed back to the system each time; a tile's would
        # cost more in page faults than its products do. The size is below the 32 MiB at which it stops learning.
        torch.empty(31 << 18)

    def run(self, read: Callable[[Tile], None], progress: Progress | None = None) -> None:
        """Hand every tile once to `read`, which may overwrite its scores.

        Several threads call it at once, each with other queries; the tiles of a query come in the candidates' order.
        """
        done, total = 0, self._queries.count * self._candidates.count
        spans = self._spans(self._queries.count, self._rows)
        with self._mapper() as mapper:
            for first, last in self._spans(self._candidates.count, self._columns * self._blocks_read):
                parts = [(first + at, first + to) for at, to in self._spans(last - first, self._columns)]
                blocks = list(mapper(self._read, parts))
                work = partial(self._score, blocks, read)
                for (at, to), _ in zip(spans, mapper(work, spans), strict=True):
                    done += (to - at) * (last - first)
                    if progress is not None:
                        progress(done, total)

    @staticmethod
    def _spans(count: int, step: int) -> list[tuple[int, int]]:
        return [(at, min(at + step, count)) for at in range(0, count, step)]

    @contextmanager
    def _mapper(self) -> Iterator[Callable[..., Iterable[Any]]]:
        # A thread's own setting is also that of threads yet to come, so it is put back here.
        set_threads = partial(torch.set_num_threads, self._threads_each)
        try:
            if self._workers == 1:
                set_threads()
                yield map
            else:
                with ThreadPoolExecutor(self._workers, initializer=set_threads) as pool:
                    yield pool.map
        finally:
            torch.set_num_threads(self._threads)

    def _read(self, span: tuple[int, int]) -> Block:
        first, last = span
        rows = self._candidates.read(first, last)
        longest = float(self._candidates.checked(_lengths(rows), first).max())
        if longest * float(self._norms.max()) > _LARGEST:
            raise ValueError("vectors so long that a score is not a finite number in float32: normalise them")
        return Block(rows, first, self._device, longest, self._hidden)

    def _score(self, blocks: list[Block], read: Callable[[Tile], None], span: tuple[int, int]) -> None:
        at, to = span
        relative = self._queries.dims * _ROUNDING
        relative = 1.01 * relative / (1.0 - relative)
        with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            rows = self._queries.read(at, to)
            left = torch.from_numpy(rows).to(self._device)
            # torch.mm asks MKL, which keeps to narrower vectors on processors that are not Intel's: there, oneDNN
            # takes half the time (docs/SEARCH.md).
            left = left.to_mkldnn() if self._by_onednn else left
            for block in blocks:
                product = F.linear(left, block.there).to_dense() if self._by_onednn else left @ block.there.T
                hidden = block.hidden(at, to)
                margin = relative * block.longest * self._norms[at:to] + 1e-35
                read(Tile(at, block, _hide(product, hidden), margin, rows, hidden, self._pairs_at_once))


def tile_shape(num_queries: int, num_candidates: int, dims: int, budget: int, device: str) -> tuple[int, int]:
    """Queries and candidates of a tile whose memory stays within `budget` bytes, at least one of each."""
    most = _CPU_TILE if device == "cpu" else _GPU_TILE
    rows, columns = min(num_queries, most[0]), min(num_candidates, most[1])
    # Two copies of the scores in float32 and one in float64, or the pairs found; both sides in float32 and float64.
    while rows * columns * 16 + (rows + columns) * dims * 16 > budget and (rows > 1 or columns > 1):
        rows, columns = (rows, columns // 2) if columns >= rows else (rows // 2, columns)
    return rows, columns


def _chosen(device: str) -> torch.device:
    here = torch.cuda.is_available()
    kind, _, number = device.partition(":")
    known = kind in ("auto", "cpu", "cuda") and (not number or (kind == "cuda" and number.isdecimal()))
    if not known or (kind == "cuda" and not here):
        raise ValueError(f"device: got {device!r}, needed auto, cpu{', cuda or cuda:N' if here else ': no GPU here'}")
    return torch.device("cpu" if kind == "cpu" or not here else device.replace("auto", "cuda"))


def _lengths(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        # The least keeps the margin above what underflows.
        return np.sqrt(np.einsum("nd,nd->n", rows, rows)).astype(np.float64) + 1e-18


def _hide(scores: Tensor, hidden: Sequence[tuple[np.ndarray, np.ndarray]]) -> Tensor:
    for rows, columns in hidden:
        if len(rows):
            at = (torch.from_numpy(rows).to(scores.device), torch.from_numpy(columns).to(scores.device))
            scores[at] = -torch.inf
    return scores


@contextmanager
def float32_products() -> Iterator[None]:
    """Matrix products in float32 indeed, whatever precision the process is set to: the margin is that of float32."""
    onednn: Any = torch.backends.mkldnn
    settings = (torch.backends.cuda.matmul, onednn.matmul)
    before = [one.fp32_precision for one in settings]
    try:
        for one in settings:
            one.fp32_precision = "ieee"
        yield
    finally:
        for one, precision in zip(settings, before, strict=True):
            one.fp32_precision = precision
