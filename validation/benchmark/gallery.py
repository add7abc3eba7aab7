"""A few queries with what came back, as plain data for a report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
    rows: list[GalleryRow] = []
    by_hide: dict[frozenset[str], np.ndarray] = {}
    for task in eval_set.retrieval:
        if task.name.endswith(TITLE_HIDDEN) or not set(task.needs) <= embedder.modalities:
            continue
        if task.hide not in by_hide:
            by_hide[task.hide] = _checked(embedder, embedder.embed_products(eval_set.gallery, task.hide), eval_set)
        products = by_hide[task.hide]
        queries = _query_vectors(embedder, task, products, eval_set)
        ranks, hits = _ranked(task, queries, products, eval_set.pool_of(task), k)
        for index in _chosen(task, ranks, queries_per_task, failures):
            rows.append(_row(task, task.queries[index], ranks[index], hits[index], queries[index], products, eval_set))
    return rows


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


def _row(
    task: RetrievalTask,
    query: EvalQuery,
    rank: int,
    hits: list[int],
    vector: np.ndarray,
    products: np.ndarray,
    eval_set: EvalSet,
) -> GalleryRow:
    found = tuple(
        GalleryHit(
            product_id=eval_set.gallery[hit].product.product_id,
            title=eval_set.gallery[hit].product.title or "",
            score=float(np.dot(vector, products[hit])),
            right=hit in query.relevant,
            same_group=hit in query.same_group,
            photo=next(iter(eval_set.gallery[hit].photos), None),
        )
        for hit in hits
    )
    asking = query.item
    if isinstance(asking, QueryItem):
        return GalleryRow(task.name, query.query_id, asking.text, asking.photo, rank, found)
    photo = next(iter(asking.photos), None)
    return GalleryRow(task.name, query.query_id, asking.product.title, photo, rank, found)


def _draw(query_id: str) -> str:
    return hashlib.sha256(query_id.encode()).hexdigest()
