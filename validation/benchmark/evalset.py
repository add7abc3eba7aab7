"""What an encoder is asked: a gallery, queries with their answers, and label questions, frozen under one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from catalog.images import Photo
from catalog.items import ProductItem, QueryItem
from validation.errors import BenchmarkError

EVAL_SET_VERSION = 2
"""Raised whenever the meaning of a task changes: another version is another benchmark."""

TITLE_HIDDEN = "_title_hidden"
AUGMENTED = "_augmented"

Traits = tuple[tuple[str, str], ...]
"""(kind, name) pairs of an item, each kind once: what its slices are made of."""


@dataclass(frozen=True)
class EvalQuery:
    """A query and its right answers, as positions in the gallery."""

    item: QueryItem | ProductItem
    """What a shopper gives; a product where products like it are asked for."""
    relevant: tuple[int, ...]
    same_group: tuple[int, ...]
    """Products of the groups of the relevant ones, those included."""
    group_id: str
    """Cluster for the intervals."""
    excluded: tuple[int, ...] = ()
    """Never candidates for this query: the product that asks, and its variants."""
    traits: Traits = ()
    """Of the query itself; for kinds that it lacks, those of its first right product stand in."""

    @property
    def query_id(self) -> str:
        return self.item.query_id if isinstance(self.item, QueryItem) else self.item.product.product_id

    @property
    def photos(self) -> tuple[Photo, ...]:
        """Photographs that ask; none of a product, whose photographs are the gallery's own."""
        return (self.item.photo,) if isinstance(self.item, QueryItem) and self.item.photo else ()


@dataclass(frozen=True)
class RetrievalTask:
    """Queries of one kind against a part of the gallery, shown in one way."""

    name: str
    queries: tuple[EvalQuery, ...]
    query_source: str
    needs: tuple[str, ...]
    """Modalities an encoder must read to be asked."""
    hide: frozenset[str] = frozenset()
    """Hidden in the candidates, and in products that ask."""
    pool: tuple[int, ...] | None = None
    """Gallery positions that are candidates; None for all of them."""
    note: str = ""


@dataclass(frozen=True)
class LabelTask:
    """One zero-shot question: which of these texts is nearest to the product, or to the photograph?"""

    name: str
    family: str
    """category, attributes or photo_label."""
    items: tuple[int, ...]
    """Positions in the gallery; in `photos` where those are asked about."""
    labels: tuple[str, ...]
    """Label texts, as the encoder gets them."""
    answers: tuple[tuple[int, ...], ...]
    """Right labels of each item; empty where the right value never occurs in train, which no answer can meet."""
    majority: int
    """The label most train products have."""
    hide: frozenset[str]
    traits: tuple[Traits, ...]
    """Of each item, beside those of its product."""
    paths: tuple[tuple[str, ...], ...] = ()
    """Of each label, root first, where labels are leaves of a tree: for credit by depth."""
    photos: tuple[QueryItem, ...] = ()
    """Labelled photographs that belong to no product."""

    @property
    def is_several_valued(self) -> bool:
        """Whether any item has more than one right label."""
        return any(len(own) > 1 for own in self.answers)


@dataclass(frozen=True)
class EvalSet:
    """A frozen evaluation set.

    Constructing one proves that no query's photograph is in the gallery and that every answer points somewhere; there
    is no way to hold one that leaks or dangles.

    Raises:
        BenchmarkError: A query's photo is in the gallery, or a photo has no digest to prove otherwise; a product that
            may find itself; an answer that points nowhere; a name or id that stands for two things; a task that asks
            nothing; labels that are not distinct texts.
    """

    dataset_digest: str
    side: str
    gallery: tuple[ProductItem, ...]
    retrieval: tuple[RetrievalTask, ...]
    labels: tuple[LabelTask, ...]
    traits: tuple[Traits, ...] = ()
    """Of each gallery product."""
    absent: tuple[tuple[str, str], ...] = ()
    """Tasks this catalogue cannot ask, with the reason."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._names_are_unique()
        self._answers_exist()
        self._no_photo_is_in_the_gallery()

    def queries(self) -> Iterator[EvalQuery]:
        """Every query of every retrieval task."""
        return (query for task in self.retrieval for query in task.queries)

    def only(self, tasks: Collection[str]) -> EvalSet:
        """The same gallery with these tasks alone: another set, with a digest of its own."""
        return replace(
            self,
            retrieval=tuple(task for task in self.retrieval if task.name in tasks),
            labels=tuple(task for task in self.labels if task.name in tasks),
        )

    def pool_of(self, task: RetrievalTask) -> tuple[int, ...]:
        """Gallery positions that are candidates in `task`."""
        return tuple(range(len(self.gallery))) if task.pool is None else task.pool

    @cached_property
    def digest(self) -> str:
        """SHA-256 over gallery, queries, answers, labels, what is hidden and what slices are made of.

        It does not depend on where files lie, nor on the train side beyond the label sets and frequencies taken from
        it, so two models trained on different snapshots can be compared as long as they are asked the same.
        """
        content = {
            "version": EVAL_SET_VERSION,
            "side": self.side,
            "gallery": [_product_content(item) for item in self.gallery],
            "traits": self.traits,
            "retrieval": [
                [
                    *(task.name, task.query_source, task.needs, sorted(task.hide), task.pool),
                    [_query_content(query) for query in task.queries],
                ]
                for task in self.retrieval
            ],
            "labels": [
                [
                    *(task.name, task.family, task.items, task.labels, task.answers),
                    *(task.majority, sorted(task.hide), task.traits, task.paths),
                    [_item_content(item) for item in task.photos],
                ]
                for task in self.labels
            ],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def _no_photo_is_in_the_gallery(self) -> None:
        in_gallery = {photo.digest: item.product.product_id for item in self.gallery for photo in item.photos}
        for query in self.queries():
            for photo in query.photos:
                if not photo.digest or "" in in_gallery:
                    raise BenchmarkError(
                        "a photo without a digest cannot be proven absent from the gallery",
                        where=query.query_id if not photo.digest else in_gallery[""],
                        fix="load the catalogue with load_catalog, which takes every image's digest",
                    )
                if photo.digest in in_gallery:
                    raise BenchmarkError(
                        "a query's photo is in the gallery, so finding it proves nothing",
                        where=f"query {query.query_id}, product {in_gallery[photo.digest]}",
                        fix="build the evaluation set with build_eval_set, which takes such photos out",
                    )

    def _names_are_unique(self) -> None:
        _must_be_distinct(
            "two tasks have one name",
            [*(task.name for task in self.retrieval), *(task.name for task in self.labels)],
            "tasks",
        )
        _must_be_distinct("two products have one id", [item.product.product_id for item in self.gallery], "gallery")
        items: dict[str, QueryItem | ProductItem] = {}
        for task in self.retrieval:
            _must_be_distinct("a query is asked twice", [query.query_id for query in task.queries], task.name)
            for query in task.queries:
                if items.setdefault(query.query_id, query.item) != query.item:
                    raise BenchmarkError("two queries have one id", where=task.name, got=query.query_id)

    def _answers_exist(self) -> None:
        if self.traits and len(self.traits) != len(self.gallery):
            raise _points_nowhere("traits", f"{len(self.traits)} rows", f"{len(self.gallery)} products")
        position = {item.product.product_id: index for index, item in enumerate(self.gallery)}
        for task in self.retrieval:
            if len({type(query.item) for query in task.queries}) != 1:
                raise _points_nowhere(task.name, f"{len(task.queries)} queries", "queries, or products that ask")
            pool = frozenset(self.pool_of(task))
            _must_lie_in(pool, range(len(self.gallery)), f"{task.name}: pool")
            for query in task.queries:
                self._has_answers(query, pool, f"{task.name}: query {query.query_id}", position)
        for label_task in self.labels:
            self._labels_are_distinct_texts(label_task)
            self._labels_can_be_given(label_task)

    def _has_answers(self, query: EvalQuery, pool: frozenset[int], where: str, position: Mapping[str, int]) -> None:
        if not query.relevant:
            raise _points_nowhere(where, "no right product", "at least one")
        _must_lie_in(query.same_group, pool, where)
        _must_lie_in(query.relevant, pool, where)
        _must_lie_in(query.excluded, range(len(self.gallery)), where)
        if not set(query.relevant) <= set(query.same_group):
            raise _points_nowhere(where, "a right product outside its own group", "same_group holds it")
        if not set(query.excluded).isdisjoint(query.same_group):
            raise _points_nowhere(where, "a right product that is no candidate", "one or the other")
        if isinstance(query.item, ProductItem) and position.get(query.query_id) not in query.excluded:
            raise BenchmarkError(
                "a product that asks is its own candidate, or none of the gallery, so finding it proves nothing",
                where=where,
                fix="name its position in `excluded`",
            )

    def _labels_are_distinct_texts(self, task: LabelTask) -> None:
        for label in task.labels:
            if not isinstance(label, str) or not label:
                raise BenchmarkError(
                    "a label is not a text, so no encoder can read it",
                    where=task.name,
                    got=repr(label),
                    allowed="texts that are not empty",
                )
        if len(set(task.labels)) != len(task.labels):
            raise BenchmarkError("two labels are one text, so no answer can be right", where=task.name)

    def _labels_can_be_given(self, task: LabelTask) -> None:
        if not task.items or len(task.labels) < 2:
            got = f"{len(task.items)} items, {len(task.labels)} labels"
            raise _points_nowhere(task.name, got, "an item and two labels at least")
        _must_be_distinct("an item is asked about twice", task.items, task.name)
        _must_be_distinct("two photographs have one id", [item.query_id for item in task.photos], task.name)
        _must_lie_in((task.majority,), range(len(task.labels)), f"{task.name}: majority")
        subjects = len(task.photos) if task.photos else len(self.gallery)
        _must_lie_in(task.items, range(subjects), f"{task.name}: items")
        for name, rows in (("answers", task.answers), ("traits", task.traits)):
            if len(rows) != len(task.items):
                raise _points_nowhere(f"{task.name}: {name}", f"{len(rows)} rows", f"{len(task.items)} items")
        for index, answers in zip(task.items, task.answers, strict=True):
            _must_lie_in(answers, range(len(task.labels)), f"{task.name}: answers of item {index}")
            _must_be_distinct("a label is right twice", answers, f"{task.name}: item {index}")
            if len(answers) >= len(task.labels):
                raise _points_nowhere(f"{task.name}: item {index}", "every label is right", "at least one that is not")
        if task.paths and len(task.paths) != len(task.labels):
            raise _points_nowhere(f"{task.name}: paths", f"{len(task.paths)} rows", f"{len(task.labels)} labels")


def _must_lie_in(positions: Iterable[Any], allowed: range | frozenset[int], where: str) -> None:
    for position in positions:
        # bool is an int in Python, and a label's text or None must never pass for a position.
        if type(position) is not int or position not in allowed:
            raise _points_nowhere(where, repr(position), f"positions below {len(allowed)}")


def _must_be_distinct(problem: str, names: Sequence[Any], where: str) -> None:
    if len(set(names)) != len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise BenchmarkError(problem, where=where, got=str(twice), fix="build it again")


def _points_nowhere(where: str, got: str, allowed: str) -> BenchmarkError:
    return BenchmarkError(
        "the evaluation set points nowhere", where=where, got=got, allowed=allowed, fix="build it again"
    )


def _product_content(item: ProductItem) -> list[Any]:
    row = item.product.model_dump(mode="json", exclude={"images", "url"})
    return [row, [[photo.digest, photo.role] for photo in item.photos]]


def _item_content(item: QueryItem | ProductItem) -> list[Any]:
    if isinstance(item, ProductItem):
        return _product_content(item)
    return [item.query_id, item.text, item.photo.digest if item.photo else None]


def _query_content(query: EvalQuery) -> list[Any]:
    return [
        _item_content(query.item),
        *(query.relevant, query.same_group, query.group_id, query.excluded, query.traits),
    ]
