"""Training pairs: what a shopper asked with, and the product that answered.

No pair's query photograph is ever part of its product's input; a product with one photograph only may be asked for
by a strong crop of it, which is the one marked exception (`Pair.is_crop`) and can be switched off.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from catalog import Catalog, Photo, Product, Query, QueryKind, Side, Splits
from catalog.catalog import IMAGE_OK
from catalog.text import clean_text
from models.config import TrainConfig

_log = logging.getLogger(__name__)

PairKind = Literal["image", "text", "both"]
KINDS: tuple[PairKind, ...] = ("image", "text", "both")
_KIND_OF = {QueryKind.PHOTO: "image", QueryKind.TEXT: "text", QueryKind.BOTH: "both"}
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_MIN_SENTENCE_CHARS, _MAX_SENTENCE_CHARS = 12, 240


@dataclass(frozen=True)
class Pair:
    """One query and the product it led to."""

    kind: PairKind
    source: str
    product_id: str
    accepted: frozenset[str]
    """All products that answer this query, in its row or in another of the same words; none of them is its negative."""
    text: str | None = None
    photo: Photo | None = None
    hides: frozenset[str] = frozenset()
    """Fields that the product must not show because the query was made of them."""
    is_crop: bool = False
    """The query is a strong crop of a photograph that the product keeps."""
    weight: float = 1.0
    """Of the query's row."""
    signal: str = "none"
    """What the shopper did; none where no shopper asked."""


@dataclass
class PairTable:
    """Pairs of the train side by product and kind."""

    by_product: dict[str, dict[PairKind, list[Pair]]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, pair: Pair) -> None:
        self.by_product.setdefault(pair.product_id, {}).setdefault(pair.kind, []).append(pair)

    def pairs(self) -> list[Pair]:
        """All pairs, in the order of products and kinds."""
        return [pair for kinds in self.by_product.values() for pairs in kinds.values() for pair in pairs]

    def counts(self) -> dict[str, int]:
        """Pairs by `source/kind`."""
        return dict(sorted(Counter(f"{pair.source}/{pair.kind}" for pair in self.pairs()).items()))


def build_pairs(catalog: Catalog, splits: Splits, config: TrainConfig) -> PairTable:
    """Collect the training pairs of the sources that the configuration names.

    Args:
        catalog: Rows and images; unusable images were marked by ingestion and are left out here.
        splits: Only train-side products and queries are touched.
        config: `pair_sources` and `single_photo_crops`.
    """
    table = PairTable()
    train_ids = set(splits.product_ids(Side.TRAIN))
    if "purchases" in config.pair_sources:
        _add_purchases(table, catalog, splits, train_ids)
    for product_id in splits.product_ids(Side.TRAIN):
        product = catalog.by_id[product_id]
        photos = usable_photos(catalog, product) if "views" in config.pair_sources else []
        texts = _texts(product) if "texts" in config.pair_sources else []
        _add_own(table, product, photos, texts, config.single_photo_crops)
    return table


def usable_photos(catalog: Catalog, product: Product) -> list[Photo]:
    """The product's photographs that ingestion could decode; the same bytes count once."""
    seen: dict[str, Photo] = {}
    for photo in catalog.item(product).photos:
        record = catalog.images.get(photo.ref)
        if record is None or record.status == IMAGE_OK:
            seen.setdefault(photo.digest or photo.ref, photo)
    return list(seen.values())


def _add_purchases(table: PairTable, catalog: Catalog, splits: Splits, train_ids: set[str]) -> None:
    queries = splits.queries.get(Side.TRAIN, ())
    answers = _answers_by_words(queries)
    for query in queries:
        kind = _KIND_OF.get(query.kind)
        if kind is None:
            table.dropped[f"queries of kind {query.kind}"] += 1
            continue
        photo = None
        if query.image:
            record = catalog.images.get(query.image)
            if record is not None and record.status != IMAGE_OK:
                table.dropped["queries with an unusable photo"] += 1
                continue
            photo = catalog.photo(query.image, query.box)
        accepted = answers[_words(query.text)] if query.text and photo is None else frozenset(query.product_ids)
        for product_id in query.product_ids:
            if product_id in train_ids:
                asked = Pair(kind, "purchases", product_id, accepted, query.text, photo)  # type: ignore[arg-type]
                table.add(replace(asked, weight=query.weight, signal=query.signal.value))


def _answers_by_words(queries: Iterable[Query]) -> Mapping[str, frozenset[str]]:
    """Products of all rows that ask in the same words and with no photograph: to the model they are one query."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for query in queries:
        if query.kind in _KIND_OF and query.text and not query.image:
            found[_words(query.text)].update(query.product_ids)
    # One set for all pairs that share it: a popular query has thousands of rows.
    return {words: frozenset(product_ids) for words, product_ids in found.items()}


def _words(text: str) -> str:
    """The text without what carries no meaning when a shopper types: case, spaces, width and form of a character."""
    return " ".join(unicodedata.normalize("NFKC", clean_text(text, one_line=True)[0]).casefold().split())


def _add_own(
    table: PairTable, product: Product, photos: list[Photo], texts: list[tuple[str, str]], single_photo_crops: bool
) -> None:
    own = frozenset((product.product_id,))
    is_crop = len(photos) == 1
    if is_crop and not single_photo_crops:
        table.dropped["products with a single photo and no crop allowed"] += 1
        photos = []
    for number, photo in enumerate(photos):
        table.add(Pair("image", "views", product.product_id, own, photo=photo, is_crop=is_crop))
        if texts:
            hidden, text = texts[number % len(texts)]
            table.add(
                Pair("both", "views", product.product_id, own, text, photo, frozenset((hidden,)), is_crop=is_crop)
            )
    for hidden, text in texts:
        table.add(Pair("text", "texts", product.product_id, own, text, hides=frozenset((hidden,))))


def _texts(product: Product) -> list[tuple[str, str]]:
    """(field the text is from, text): the title, and the sentences of the description."""
    found = [("title", product.title)] if product.title else []
    sentences = _SENTENCE.split(product.description or "")
    found += [
        ("description", sentence.strip()[:_MAX_SENTENCE_CHARS])
        for sentence in sentences
        if len(sentence.strip()) >= _MIN_SENTENCE_CHARS
    ]
    return found
