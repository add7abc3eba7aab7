"""What an encoder is asked: a gallery, queries with their answers, and label questions, frozen under one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from catalog.items import ProductItem, QueryItem
from validation.errors import BenchmarkError

EVAL_SET_VERSION = 1
"""Raised whenever the meaning of a task changes: another version is another benchmark."""

TITLE_HIDDEN = "_title_hidden"
AUGMENTED = "_augmented"


@dataclass(frozen=True)
class EvalQuery:
    """A query and its right answers, as positions in the gallery."""

    item: QueryItem
    relevant: tuple[int, ...]
    same_group: tuple[int, ...]
    """Products of the groups of the relevant ones, those included."""
    group_id: str
    """Cluster for the intervals."""
    names_answer: bool
    """A word of the right product's title stands in the query's text."""


@dataclass(frozen=True)
class RetrievalTask:
    """Queries of one kind against the gallery."""

    name: str
    queries: tuple[EvalQuery, ...]
    query_source: str
    needs: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class LabelTask:
    """One zero-shot question: which of these texts is nearest to the product?"""

    name: str
    family: str
    """category or attributes."""
    items: tuple[int, ...]
    """Positions in the gallery."""
    labels: tuple[str, ...]
    """Label texts, as the encoder gets them."""
    answers: tuple[tuple[int, ...], ...]
    """Right labels of each item; empty where the right value never occurs in train, which no answer can meet."""
    majority: int
    """The label most train products have."""
    hide: frozenset[str]
    in_title: tuple[bool, ...]
    """Whether a word of the answer stands in the item's title."""


@dataclass(frozen=True)
class EvalSet:
    """A frozen evaluation set.

    Constructing one proves that no query's photograph is in the gallery; there is no way to hold one that leaks it.

    Raises:
        BenchmarkError: A query's photo is in the gallery, or a photo has no digest to prove otherwise.
    """

    dataset_digest: str
    side: str
    gallery: tuple[ProductItem, ...]
    retrieval: tuple[RetrievalTask, ...]
    labels: tuple[LabelTask, ...]
    retrieval_hide: frozenset[str] = frozenset()
    """Hidden in the gallery products while queries are answered: the description where it is the query."""
    absent: tuple[tuple[str, str], ...] = ()
    """Tasks this catalogue cannot ask, with the reason."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        in_gallery = {photo.digest: item.product.product_id for item in self.gallery for photo in item.photos}
        for query in self.queries():
            photo = query.item.photo
            if photo is None:
                continue
            if not photo.digest or "" in in_gallery:
                raise BenchmarkError(
                    "a photo without a digest cannot be proven absent from the gallery",
                    where=query.item.query_id if not photo.digest else in_gallery[""],
                    fix="load the catalogue with load_catalog, which takes every image's digest",
                )
            if photo.digest in in_gallery:
                raise BenchmarkError(
                    "a query's photo is in the gallery, so finding it proves nothing",
                    where=f"query {query.item.query_id}, product {in_gallery[photo.digest]}",
                    fix="build the evaluation set with build_eval_set, which takes such photos out",
                )

    def queries(self) -> Iterator[EvalQuery]:
        """Every query of every retrieval task."""
        return (query for task in self.retrieval for query in task.queries)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over gallery, queries, answers, labels and what is hidden.

        It does not depend on where files lie, nor on the train side beyond the label sets taken from it, so two models
        trained on different snapshots can be compared as long as they are asked the same.
        """
        content = {
            "version": EVAL_SET_VERSION,
            "side": self.side,
            "gallery": [_product_content(item) for item in self.gallery],
            "retrieval": [
                [task.name, task.query_source, task.needs, [_query_content(query) for query in task.queries]]
                for task in self.retrieval
            ],
            "labels": [
                [
                    *(task.name, task.family, task.items, task.labels, task.answers),
                    *(task.majority, sorted(task.hide), task.in_title),
                ]
                for task in self.labels
            ],
            "retrieval_hide": sorted(self.retrieval_hide),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _product_content(item: ProductItem) -> list[Any]:
    row = item.product.model_dump(mode="json", exclude={"images", "url"})
    return [row, [[photo.digest, photo.role] for photo in item.photos]]


def _query_content(query: EvalQuery) -> list[Any]:
    photo = query.item.photo
    return [
        *(query.item.query_id, query.item.text, photo.digest if photo else None),
        *(query.relevant, query.same_group, query.group_id, query.names_answer),
    ]
