"""Keeping query photographs out of the gallery, and making honest ones where a catalogue has none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from catalog.catalog import IMAGE_OK, Catalog
from catalog.images import Photo
from catalog.items import ProductItem, QueryItem
from catalog.likeness import Fingerprint, fingerprint, near_identical_pairs


class Likeness:
    """Which photographs are the same picture; each is decoded once."""

    def __init__(self) -> None:
        self._known: dict[str, Fingerprint] = {}

    def near(self, one: Photo, other: Photo) -> bool:
        """Whether the two are one picture up to rescaling, recompression and slight edits."""
        if one.digest == other.digest:
            return True
        return next(near_identical_pairs([self._print(one), self._print(other)]), None) is not None

    def _print(self, photo: Photo) -> Fingerprint:
        if photo.digest not in self._known:
            self._known[photo.digest] = fingerprint(photo.load())
        return self._known[photo.digest]


@dataclass(frozen=True)
class PhotoQuery:
    """A query with a photograph, before its photo has been taken out of the gallery."""

    item: QueryItem
    product_ids: tuple[str, ...]
    augmented: bool = False


def bare_item(catalog: Catalog, product_id: str) -> ProductItem:
    """The product as an encoder under test may see it.

    Without unusable photos, and without what no shop has when it asks for a vector or what quietly names the answer:
    true core boxes, the address of its page, columns the schema does not know.
    """
    item = catalog.item(catalog.by_id[product_id])
    photos = tuple(replace(photo, box=None) for photo in item.photos if _usable(catalog, photo))
    return _with_photos(replace(item, product=item.product.model_copy(update={"extra": {}, "url": None})), photos)


def bare_photo(catalog: Catalog, ref: str) -> Photo | None:
    """The query photo at `ref` without its true box; None where the image cannot be used."""
    photo = catalog.photo(ref)
    return photo if _usable(catalog, photo) else None


def other_photo_queries(gallery: Iterable[ProductItem], likeness: Likeness) -> list[PhotoQuery]:
    """One photo of each product that has several becomes a query for it.

    Which one depends on product and photo alone. A product whose photos are all near-identical gives none.
    """
    queries = []
    for item in gallery:
        key = item.product.product_id
        for photo in sorted(item.photos, key=lambda photo: _draw(key, photo.digest)):
            if any(not likeness.near(photo, other) for other in item.photos):
                queries.append(PhotoQuery(QueryItem(f"other-photo:{key}", None, photo), (key,)))
                break
    return queries


def set_apart(
    gallery: Sequence[ProductItem], queries: Sequence[PhotoQuery], likeness: Likeness
) -> tuple[list[ProductItem], list[PhotoQuery], list[str]]:
    """Take the queries' photos out of the gallery.

    Gone are: the same bytes in any product, and near-identical photos in the products that answer the query and in
    their variants, which count as found by group (for `augmented` queries, whose photo is an edit by intention, the
    bytes alone). A product never loses its last photo: the queries that need it gone are dropped instead.

    Returns:
        The gallery, the queries that stay, and what was done, in sentences.
    """
    asked: dict[str, list[PhotoQuery]] = {}
    for query in queries:
        assert query.item.photo is not None
        asked.setdefault(query.item.photo.digest, []).append(query)
    group_of = {item.product.product_id: item.product.group_id for item in gallery}
    asking: dict[str, list[PhotoQuery]] = {}
    for query in queries:
        for group in dict.fromkeys(group_of[key] for key in query.product_ids):
            asking.setdefault(group, []).append(query)

    kept_items, dropped, num_removed = [], set(), 0
    for item in gallery:
        clashes = {
            photo.digest: [
                *asked.get(photo.digest, ()),
                *_near(photo, asking.get(item.product.group_id, ()), likeness),
            ]
            for photo in item.photos
        }
        gone = {digest for digest, clashing in clashes.items() if clashing}
        if gone and len(gone) == len(clashes):
            spared = min(gone, key=lambda digest: (len(clashes[digest]), _draw(item.product.product_id, digest)))
            dropped |= {query.item.query_id for query in clashes[spared]}
            gone.discard(spared)
        num_removed += sum(photo.digest in gone for photo in item.photos)
        kept_items.append(_with_photos(item, tuple(photo for photo in item.photos if photo.digest not in gone)))
    notes = []
    if num_removed:
        notes.append(f"{num_removed} gallery photos taken out: they are, or nearly are, a query's photo")
    if dropped:
        notes.append(f"{len(dropped)} photo queries dropped: their photo is a gallery product's only one")
    return kept_items, [query for query in queries if query.item.query_id not in dropped], notes


def _near(photo: Photo, queries: Iterable[PhotoQuery], likeness: Likeness) -> list[PhotoQuery]:
    return [
        query
        for query in queries
        if not query.augmented and query.item.photo is not None and likeness.near(photo, query.item.photo)
    ]


def _with_photos(item: ProductItem, photos: tuple[Photo, ...]) -> ProductItem:
    roles = tuple(photo.role for photo in photos) if item.product.image_roles else ()
    changes = {"images": tuple(photo.ref for photo in photos), "image_roles": roles, "boxes": ()}
    return ProductItem(item.product.model_copy(update=changes), photos)


def _usable(catalog: Catalog, photo: Photo) -> bool:
    record = catalog.images.get(photo.ref)
    return record is not None and record.status == IMAGE_OK and bool(record.digest)


def _draw(product_id: str, digest: str) -> str:
    return hashlib.sha256(f"{product_id}\x00{digest}".encode()).hexdigest()
