"""From a split catalogue to an evaluation set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from catalog.catalog import Catalog
from catalog.items import ProductItem, QueryItem
from catalog.rows import QueryKind
from catalog.splits import Side, Splits
from validation.benchmark.evalset import EvalSet
from validation.benchmark.photos import (
    Likeness,
    PhotoQuery,
    bare_item,
    bare_photo,
    other_photo_queries,
    set_apart,
)
from validation.benchmark.questions import attribute_questions, category_questions, photo_questions
from validation.benchmark.tasks import ASKED_BY, PURCHASES, retrieval_tasks
from validation.benchmark.traits import Backgrounds, product_traits
from validation.config import BenchmarkConfig
from validation.errors import BenchmarkError

OTHER_PHOTO = "other_photo"
DESCRIPTION = "description"
OTHER_PHOTO_AND_DESCRIPTION = "other_photo + description"

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


def build_eval_set(catalog: Catalog, splits: Splits, cfg: BenchmarkConfig, side: Side = Side.TEST) -> EvalSet:
    """Freeze what encoders are asked about the products of `side`.

    Queries come from the shoppers of that side. Where the catalogue has none with a photograph, one photo of each
    product that has several becomes the query; where it has none in words, the first sentences of a description do,
    hidden in the product. Each task's `query_source` says which. Photographs that carry a label and belong to no
    product are asked about too; a catalogue of such photographs alone is an evaluation set as well.

    Args:
        catalog: The validated catalogue.
        splits: Its split.
        cfg: Bounds and thresholds.
        side: Whose products are the gallery.

    Raises:
        BenchmarkError: No product on that side.
        ImageError: A photo that ingestion found usable cannot be read any more.
    """
    backgrounds = Backgrounds()
    photographs = photo_questions(catalog, backgrounds)
    keys = sorted(key for key in splits.product_ids(side) if key in catalog.by_id)
    if not catalog.products and photographs.tasks:
        return EvalSet(catalog.digest, str(side), (), (), tuple(photographs.tasks), notes=tuple(photographs.notes))
    if not keys:
        raise BenchmarkError(
            "no product to judge on",
            where=f"side {side}",
            got=f"{len(catalog.products)} products, none on this side",
            fix="use a larger catalogue, or raise catalog.split.test_frac",
        )
    gallery = [bare_item(catalog, key) for key in keys]
    train = [p for p in catalog.products if splits.side_of.get(p.product_id) is Side.TRAIN]
    likeness = Likeness()

    asked, notes = _shoppers_queries(catalog, splits, side, set(keys))
    sources = dict.fromkeys(QueryKind, PURCHASES)
    plain = {kind for kind, queries in asked.items() if any(not query.augmented for query in queries)}
    if QueryKind.PHOTO not in plain:
        asked[QueryKind.PHOTO] += other_photo_queries(gallery, likeness)
        sources[QueryKind.PHOTO] = OTHER_PHOTO
    if QueryKind.TEXT not in plain:
        asked[QueryKind.TEXT] += _description_queries(gallery, cfg.max_description_chars)
        sources[QueryKind.TEXT] = DESCRIPTION
    if QueryKind.BOTH not in plain:
        asked[QueryKind.BOTH] += _photos_with_words(gallery, asked[QueryKind.PHOTO], cfg.max_description_chars)
        photo_source = sources[QueryKind.PHOTO]
        sources[QueryKind.BOTH] = (
            OTHER_PHOTO_AND_DESCRIPTION if photo_source == OTHER_PHOTO else f"{photo_source} + {DESCRIPTION}"
        )

    with_photo = [query for queries in asked.values() for query in queries if query.item.photo is not None]
    gallery, stay, apart_notes = set_apart(gallery, with_photo, likeness)
    staying = {query.item.query_id for query in stay}
    asked = {
        kind: [query for query in queries if query.item.photo is None or query.item.query_id in staying]
        for kind, queries in asked.items()
    }
    from_description = any(
        DESCRIPTION in sources[kind] for kind, queries in asked.items() if any(not query.augmented for query in queries)
    )
    links = [query for query in catalog.queries if query.kind is QueryKind.LINK]
    retrieval, absent = retrieval_tasks(
        gallery,
        asked,
        links,
        sources,
        frozenset({"description"}) if from_description else frozenset(),
        backgrounds,
        likeness,
    )
    categories = category_questions(gallery, catalog.products, train)
    attributes = attribute_questions(gallery, train, min_n=cfg.min_attribute_n, max_values=cfg.max_attribute_values)
    return EvalSet(
        dataset_digest=catalog.digest,
        side=str(side),
        gallery=tuple(gallery),
        retrieval=tuple(retrieval),
        labels=(*categories.tasks, *attributes.tasks, *photographs.tasks),
        traits=product_traits(gallery, train, backgrounds),
        absent=(*absent, *categories.absent, *attributes.absent, *photographs.absent),
        notes=(*notes, *apart_notes, *categories.notes, *attributes.notes, *photographs.notes),
    )


def _shoppers_queries(
    catalog: Catalog, splits: Splits, side: Side, keys: set[str]
) -> tuple[dict[QueryKind, list[PhotoQuery]], list[str]]:
    asked: dict[QueryKind, list[PhotoQuery]] = {kind: [] for kind in ASKED_BY}
    dropped: Counter[str] = Counter()
    for query in sorted(splits.queries.get(side, ()), key=lambda query: query.query_id):
        if query.kind not in asked:
            continue
        answers = tuple(sorted(set(query.product_ids) & keys))
        photo = bare_photo(catalog, query.image) if query.image and query.kind is not QueryKind.TEXT else None
        if not answers:
            dropped["none of their products is in the gallery"] += 1
        elif query.kind is not QueryKind.TEXT and photo is None:
            dropped["their photo cannot be used"] += 1
        else:
            text = query.text if query.kind is not QueryKind.PHOTO else None
            asked[query.kind].append(PhotoQuery(QueryItem(query.query_id, text, photo), answers, query.augmented))
    return asked, [f"{count} queries dropped: {reason}" for reason, count in sorted(dropped.items())]


def _description_queries(gallery: Sequence[ProductItem], max_chars: int) -> list[PhotoQuery]:
    """One query a distinct text: colours of an article share their description, and all of them answer it."""
    products: dict[str, list[str]] = {}
    for item in gallery:
        text = first_sentences(item.product.description or "", max_chars)
        if text:
            products.setdefault(text, []).append(item.product.product_id)
    return [PhotoQuery(QueryItem(f"description:{keys[0]}", text, None), tuple(keys)) for text, keys in products.items()]


def _photos_with_words(
    gallery: Sequence[ProductItem], photos: Sequence[PhotoQuery], max_chars: int
) -> list[PhotoQuery]:
    texts = {item.product.product_id: first_sentences(item.product.description or "", max_chars) for item in gallery}
    return [
        replace(query, item=QueryItem(f"both:{query.item.query_id}", texts[query.product_ids[0]], query.item.photo))
        for query in photos
        if not query.augmented and len(query.product_ids) == 1 and texts[query.product_ids[0]]
    ]


def first_sentences(text: str, max_chars: int) -> str:
    """As many whole sentences from the start as fit in `max_chars`; the first one cut at a word where it does not."""
    kept = ""
    for sentence in (part.strip() for part in _SENTENCE_END.split(text)):
        longer = f"{kept} {sentence}".strip()
        if len(longer) > max_chars:
            if kept:
                return kept
            cut = longer[:max_chars]
            return cut.rsplit(" ", 1)[0] if " " in cut else cut
        kept = longer
    return kept
