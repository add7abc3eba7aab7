"""From settled queries to retrieval tasks: who is asked what, against which candidates, shown how."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from catalog.items import ALL_ATTRIBUTES, ProductItem
from catalog.rows import Query, QueryKind
from validation.benchmark.evalset import AUGMENTED, TITLE_HIDDEN, EvalQuery, RetrievalTask, Traits
from validation.benchmark.photos import Likeness, PhotoQuery
from validation.benchmark.traits import Backgrounds
from validation.benchmark.words import telling_words, words_of

PURCHASES = "purchases"
LINKS = "links"
TEXT_TO_PRODUCT = "text_to_product"
IMAGE_TO_PRODUCT = "image_to_product"

ASKED_BY = {
    QueryKind.PHOTO: (IMAGE_TO_PRODUCT, ("image",)),
    QueryKind.TEXT: (TEXT_TO_PRODUCT, ("text",)),
    QueryKind.BOTH: ("both_to_product", ("image", "text")),
}
TITLE_AND_PROSE = frozenset({"title", "description"})
"""The description is prose about the same thing: hiding the title alone would leave its words standing there."""
ALL_WORDS = TITLE_AND_PROSE | {"category", ALL_ATTRIBUTES}


class Settler:
    """Answers by id to positions in the gallery, with groups and traits."""

    def __init__(self, gallery: Sequence[ProductItem], backgrounds: Backgrounds, likeness: Likeness) -> None:
        self._gallery, self._backgrounds, self._likeness = gallery, backgrounds, likeness
        self.num_of_one_photo = 0
        """Linked products that are no answers, since they show a photograph of the product that asks."""
        self.position = {item.product.product_id: index for index, item in enumerate(gallery)}
        self._members: dict[str, list[int]] = {}
        for index, item in enumerate(gallery):
            self._members.setdefault(item.product.group_id, []).append(index)

    def query(self, query: PhotoQuery) -> EvalQuery:
        """A shopper's query."""
        relevant, groups, same_group = self._answers(query.product_ids)
        traits = {}
        if query.item.photo is not None:
            traits["background"] = self._backgrounds.of(query.item.photo)
        if query.item.text:
            titles = {word for index in relevant for word in words_of(self._gallery[index].product.title or "")}
            traits["names_answer"] = "no" if titles.isdisjoint(telling_words(query.item.text)) else "yes"
        return EvalQuery(query.item, relevant, same_group, groups[0], traits=_sorted(traits))

    def link(self, anchor_id: str, product_ids: Sequence[str]) -> EvalQuery | None:
        """Products that belong to one of the gallery; None where none of them is in it.

        Those that show a photograph of the asking product, as the parts of one outfit may, are no candidates: it would
        find them by its own picture.
        """
        anchor = self.position[anchor_id]
        group = self._gallery[anchor].product.group_id
        found = [key for key in product_ids if key in self.position and key != anchor_id]
        if not found:
            return None
        linked, _, same_group = self._answers(found)
        alike = {index for index in same_group if self._share_a_photo(anchor, index)}
        relevant = tuple(index for index in linked if index not in alike)
        self.num_of_one_photo += len(linked) - len(relevant)
        if not relevant:
            return None
        excluded = tuple(sorted(alike | {index for index in self._members[group] if index not in relevant}))
        candidates = tuple(index for index in same_group if index not in excluded)
        return EvalQuery(self._gallery[anchor], relevant, candidates, group, excluded)

    def _share_a_photo(self, one: int, other: int) -> bool:
        pairs = itertools.product(self._gallery[one].photos, self._gallery[other].photos)
        return any(self._likeness.near(own, its) for own, its in pairs)

    def _answers(self, product_ids: Sequence[str]) -> tuple[tuple[int, ...], list[str], tuple[int, ...]]:
        relevant = tuple(sorted(self.position[key] for key in product_ids))
        groups = sorted({self._gallery[index].product.group_id for index in relevant})
        return relevant, groups, tuple(sorted(index for group in groups for index in self._members[group]))


def retrieval_tasks(
    gallery: Sequence[ProductItem],
    asked: Mapping[QueryKind, Sequence[PhotoQuery]],
    links: Sequence[Query],
    sources: Mapping[QueryKind, str],
    hide: frozenset[str],
    backgrounds: Backgrounds,
    likeness: Likeness,
) -> tuple[list[RetrievalTask], list[tuple[str, str]]]:
    """Every retrieval task the queries allow, and those they do not, with the reason.

    A task whose candidates show their titles has a twin in which they do not.

    Args:
        gallery: The candidates.
        asked: Shoppers' queries, or those made of photos and descriptions.
        links: Links from products of the gallery to others.
        sources: Where the queries of each kind come from.
        hide: Hidden in every candidate: the description, where it is a query.
        backgrounds: Of query photos.
        likeness: Of gallery photos.
    """
    settle = Settler(gallery, backgrounds, likeness)
    tasks, absent = [], []
    for kind, (name, needs) in ASKED_BY.items():
        plain = tuple(settle.query(query) for query in asked[kind] if not query.augmented)
        edited = tuple(settle.query(query) for query in asked[kind] if query.augmented)
        if plain:
            tasks += _with_twin(RetrievalTask(name, plain, sources[kind], needs, hide))
        else:
            absent.append((name, "the catalogue has no such query on this side, nor photos or texts to make one from"))
        if edited:
            note = "photos are edits or crops of gallery photos: easier than it looks, not part of the main score"
            tasks.append(RetrievalTask(name + AUGMENTED, edited, PURCHASES, needs, hide, note=note))
    by_name = {task.name: task for task in tasks}
    for name, asking, shown, hidden, twins in (
        ("text_to_image", TEXT_TO_PRODUCT, _has_photo, hide | ALL_WORDS, _alone),
        ("image_to_text", IMAGE_TO_PRODUCT, _has_words, hide | {"images"}, _with_twin),
    ):
        across = _across(name, by_name.get(asking), gallery, shown, hidden)
        if across is None:
            absent.append((name, f"no query of {asking} has an answer with what is searched"))
        else:
            tasks += twins(across)
    linked = _links(settle, links)
    if linked:
        tasks += _with_twin(RetrievalTask("product_to_product", linked, LINKS, (), hide, note=_left_out(settle)))
    else:
        left_out = _left_out(settle)
        why = "no product on this side is linked to another of its side" + (f"; {left_out}" if left_out else "")
        absent.append(("product_to_product", why))
    return tasks, absent


def _alone(task: RetrievalTask) -> list[RetrievalTask]:
    return [task]


def _with_twin(task: RetrievalTask) -> list[RetrievalTask]:
    hidden = RetrievalTask(
        task.name + TITLE_HIDDEN,
        task.queries,
        task.query_source,
        task.needs,
        task.hide | TITLE_AND_PROSE,
        task.pool,
        task.note,
    )
    return [task, hidden]


def _across(
    name: str,
    asking: RetrievalTask | None,
    gallery: Sequence[ProductItem],
    shown: Callable[[ProductItem], bool],
    hide: frozenset[str],
) -> RetrievalTask | None:
    """The queries of another task against products shown in one modality; a product that lacks it is no candidate."""
    if asking is None:
        return None
    pool = tuple(index for index, item in enumerate(gallery) if shown(item))
    inside = set(pool)
    queries = []
    for query in asking.queries:
        relevant = tuple(index for index in query.relevant if index in inside)
        same_group = tuple(index for index in query.same_group if index in inside)
        if relevant:
            queries.append(EvalQuery(query.item, relevant, same_group, query.group_id, traits=query.traits))
    if not queries:
        return None
    return RetrievalTask(name, tuple(queries), asking.query_source, ("image", "text"), hide, pool)


def _links(settle: Settler, links: Sequence[Query]) -> tuple[EvalQuery, ...]:
    """One query an anchor: what any of its links leads to is right."""
    answers: dict[str, dict[str, None]] = {}
    for link in links:
        for anchor in link.anchor_ids:
            if anchor in settle.position:
                answers.setdefault(anchor, {}).update(dict.fromkeys(link.product_ids))
    settled = (settle.link(anchor, tuple(answers[anchor])) for anchor in sorted(answers))
    return tuple(query for query in settled if query is not None)


def _left_out(settle: Settler) -> str:
    count = settle.num_of_one_photo
    return f"{count} linked products left out: they show a photo of the product that asks" if count else ""


def _has_photo(item: ProductItem) -> bool:
    return bool(item.photos)


def _has_words(item: ProductItem) -> bool:
    return bool(item.product.title or item.product.category or item.product.attributes)


def _sorted(traits: Mapping[str, str]) -> Traits:
    return tuple(sorted(traits.items()))
