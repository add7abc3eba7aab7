"""A few queries with what came back, as plain data for a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.embedder import Embedder, check_vectors
from catalog.images import Photo
from catalog.items import QueryItem
from validation.benchmark.evalset import TITLE_HIDDEN, EvalQuery, EvalSet, RetrievalTask
from validation.search import ranks_of_relevant, top_k


@dataclass(frozen=True)
class GalleryHit:
    """A product that came back."""

    product_id: str
    title: str
    score: float
    right: bool
    same_group: bool
    photo: Photo | None


@dataclass(frozen=True)
class GalleryRow:
    """A query and its best hits, best first."""

    task: str
    query_id: str
    text: str | None
    photo: Photo | None
    rank: int
    """Of the best right product, from 1."""
    hits: tuple[GalleryHit, ...]
    right: GalleryHit | None = None
    """The best right product, wherever it came."""
    pool: int = 0
    """Candidates, those barred from this query left out; 0 where it is not told."""
    worst: bool = False
    """Chosen for how badly it went; the others are a fair sample."""

    @property
    def depth(self) -> float:
        """How far down the best right product lies: 0 first, 1 last of the pool."""
        return (self.rank - 1) / max(1, self.pool - 1)


def retrieval_gallery(
    embedder: Embedder, eval_set: EvalSet, *, queries_per_task: int = 8, k: int = 5, failures: int = 5
) -> list[GalleryRow]:
    """The same sample of queries for every encoder, worst first within a task.

    Args:
        embedder: Who answers. Tasks it cannot read are left out, and so are their twins with the title hidden.
        eval_set: Where queries and products come from.
        queries_per_task: Rows shown of each retrieval task.
        k: Hits a row.
        failures: Of those rows, how many are kept for queries whose first hit is wrong, where there are as many.
            Which ones: by a hash of the query's id, not by how bad they look.
    """
    return [
        own.row(index)
        for own in _found(embedder, eval_set, k)
        for index in _chosen(own.task, own.ranks, queries_per_task, failures)
    ]


def worst_failures(embedder: Embedder, eval_set: EvalSet, *, queries_per_task: int = 5, k: int = 5) -> list[GalleryRow]:
    """The queries of each task whose best right product comes last, worst first; none whose first hit is right."""
    return [
        own.row(index, worst=True)
        for own in _found(embedder, eval_set, k)
        for index in _worst(own.task, own.ranks, queries_per_task)
    ]


def gallery_and_failures(
    embedder: Embedder,
    eval_set: EvalSet,
    *,
    queries_per_task: int = 8,
    k: int = 5,
    failures: int = 5,
    worst_per_task: int = 5,
) -> list[GalleryRow]:
    """The rows of `retrieval_gallery`, then those of `worst_failures`, for the price of one."""
    sample, worst = [], []
    for own in _found(embedder, eval_set, k):
        sample += [own.row(index) for index in _chosen(own.task, own.ranks, queries_per_task, failures)]
        worst += [own.row(index, worst=True) for index in _worst(own.task, own.ranks, worst_per_task)]
    return sample + worst


@dataclass(frozen=True)
class _Found:
    """What one task's queries were answered with."""

    task: RetrievalTask
    eval_set: EvalSet
    queries: np.ndarray
    products: np.ndarray
    ranks: list[int]
    hits: list[list[int]]

    def row(self, index: int, *, worst: bool = False) -> GalleryRow:
        query = self.task.queries[index]
        asking = query.item
        text = asking.text if isinstance(asking, QueryItem) else asking.product.title
        photo = asking.photo if isinstance(asking, QueryItem) else next(iter(asking.photos), None)
        scores = self.products[list(query.relevant)].astype(np.float64) @ self.queries[index].astype(np.float64)
        candidates = set(self.eval_set.pool_of(self.task)).difference(query.excluded)
        return GalleryRow(
            task=self.task.name,
            query_id=query.query_id,
            text=text,
            photo=photo,
            rank=self.ranks[index],
            hits=tuple(self._hit(query, index, hit) for hit in self.hits[index]),
            right=self._hit(query, index, query.relevant[int(scores.argmax())]),
            pool=len(candidates),
            worst=worst,
        )

    def _hit(self, query: EvalQuery, index: int, hit: int) -> GalleryHit:
        item = self.eval_set.gallery[hit]
        return GalleryHit(
            product_id=item.product.product_id,
            title=item.product.title or "",
            score=float(np.dot(self.queries[index], self.products[hit])),
            right=hit in query.relevant,
            same_group=hit in query.same_group,
            photo=next(iter(item.photos), None),
        )


def _found(embedder: Embedder, eval_set: EvalSet, k: int) -> Iterator[_Found]:
    by_hide: dict[frozenset[str], np.ndarray] = {}
    for task in eval_set.retrieval:
        if task.name.endswith(TITLE_HIDDEN) or not set(task.needs) <= embedder.modalities:
            continue
        if task.hide not in by_hide:
            by_hide[task.hide] = _checked(embedder, embedder.embed_products(eval_set.gallery, task.hide), eval_set)
        products = by_hide[task.hide]
        queries = _query_vectors(embedder, task, products, eval_set)
        ranks, hits = _ranked(task, queries, products, eval_set.pool_of(task), k)
        yield _Found(task, eval_set, queries, products, ranks, hits)


def _checked(embedder: Embedder, vectors: np.ndarray, eval_set: EvalSet) -> np.ndarray:
    ids = [item.product.product_id for item in eval_set.gallery]
    return check_vectors(vectors, ids, embedder.dims, embedder.name)


def _query_vectors(embedder: Embedder, task: RetrievalTask, products: np.ndarray, eval_set: EvalSet) -> np.ndarray:
    items = [query.item for query in task.queries if isinstance(query.item, QueryItem)]
    if not items:
        place = {item.product.product_id: row for row, item in enumerate(eval_set.gallery)}
        return products[[place[query.query_id] for query in task.queries]]
    ids = [item.query_id for item in items]
    return check_vectors(embedder.embed_queries(items), ids, embedder.dims, embedder.name)


def _ranked(
    task: RetrievalTask, queries: np.ndarray, products: np.ndarray, pool: Sequence[int], k: int
) -> tuple[list[int], list[list[int]]]:
    """Rank of the best right product, and the gallery positions of the k best candidates, of each query."""
    place, candidates = {index: row for row, index in enumerate(pool)}, products[list(pool)]
    excluded = [[place[index] for index in query.excluded if index in place] for query in task.queries]
    relevant = [[place[index] for index in query.relevant] for query in task.queries]
    ranks = [int(own[0]) for own in ranks_of_relevant(queries, candidates, relevant, excluded=excluded)]
    shown = min(k, len(pool) - max(map(len, excluded)))
    best = top_k(queries, candidates, shown, excluded=excluded).indices
    return ranks, [[pool[row] for row in own.tolist()] for own in best]


def _chosen(task: RetrievalTask, ranks: list[int], count: int, failures: int) -> list[int]:
    ids = [query.query_id for query in task.queries]
    drawn = sorted(range(len(ids)), key=lambda index: _draw(ids[index]))
    wrong = [index for index in drawn if ranks[index] > 1]
    right = [index for index in drawn if ranks[index] == 1]
    num_right = min(len(right), max(count - failures, count - len(wrong)))
    chosen = wrong[: count - num_right] + right[:num_right]
    return sorted(chosen, key=lambda index: (-ranks[index], ids[index]))


def _worst(task: RetrievalTask, ranks: list[int], count: int) -> list[int]:
    failed = [index for index, rank in enumerate(ranks) if rank > 1]
    return sorted(failed, key=lambda index: (-ranks[index], _draw(task.queries[index].query_id)))[:count]


def _draw(query_id: str) -> str:
    return hashlib.sha256(query_id.encode()).hexdigest()
