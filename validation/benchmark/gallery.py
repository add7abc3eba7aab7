"""A few queries with what came back, as plain data for a report."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from catalog.embedder import Embedder, check_vectors
from catalog.images import Photo
from validation.benchmark.evalset import EvalSet
from validation.search import ranks_of_best, top_k


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
        embedder: Who answers. Tasks it cannot read are left out.
        eval_set: Where queries and products come from.
        queries_per_task: Rows shown of each retrieval task.
        k: Hits a row.
        failures: Of those rows, how many are kept for queries whose first hit is wrong, where there are as many.
            Which ones: by a hash of the query's id, not by how bad they look.
    """
    tasks = [task for task in eval_set.retrieval if set(task.needs) <= embedder.modalities]
    if not tasks:
        return []
    ids = [item.product.product_id for item in eval_set.gallery]
    products = check_vectors(
        embedder.embed_products(eval_set.gallery, eval_set.retrieval_hide), ids, embedder.dims, embedder.name
    )
    rows: list[GalleryRow] = []
    for task in tasks:
        items = [query.item for query in task.queries]
        vectors = check_vectors(
            embedder.embed_queries(items), [item.query_id for item in items], embedder.dims, embedder.name
        )
        ranks = ranks_of_best(vectors, products, [query.relevant for query in task.queries])
        drawn = sorted(range(len(items)), key=lambda index: _draw(items[index].query_id))
        wrong = [index for index in drawn if ranks[index] > 1]
        right = [index for index in drawn if ranks[index] == 1]
        num_right = min(len(right), max(queries_per_task - failures, queries_per_task - len(wrong)))
        chosen = wrong[: queries_per_task - num_right] + right[:num_right]
        chosen.sort(key=lambda index: (-ranks[index], items[index].query_id))
        best = top_k(vectors[chosen], products, min(k, len(products))).indices
        for index, hits in zip(chosen, best, strict=True):
            query = task.queries[index]
            found = tuple(
                GalleryHit(
                    product_id=ids[hit],
                    title=eval_set.gallery[hit].product.title or "",
                    score=float(np.dot(vectors[index], products[hit])),
                    right=int(hit) in query.relevant,
                    same_group=int(hit) in query.same_group,
                    photo=next(iter(eval_set.gallery[hit].photos), None),
                )
                for hit in hits
            )
            rows.append(
                GalleryRow(task.name, query.item.query_id, query.item.text, query.item.photo, int(ranks[index]), found)
            )
    return rows


def _draw(query_id: str) -> str:
    return hashlib.sha256(query_id.encode()).hexdigest()
