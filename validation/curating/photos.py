"""Which photographs of a shop are one picture: every pair, across products and queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product as pairs_of

from catalog.catalog import Catalog
from catalog.images import ImageLimits
from catalog.likeness import Fingerprint, fingerprint, near_identical_pairs
from catalog.parallel import map_in_order
from catalog.rows import Product, Query
from validation.curating.config import CuratingConfig
from validation.data.alike import is_usable


@dataclass(frozen=True)
class PhotoLinks:
    """Who shows which picture, and which pictures are the same up to rescaling and recompression."""

    of_product: dict[str, tuple[str, ...]]
    """product_id -> digests of its usable photos, without those that are to be ignored."""
    of_query: dict[str, str]
    """query_id -> digest of its usable photo."""
    partners: dict[str, frozenset[str]]
    """Digest -> digests of other files that are the same picture; absent where there is none."""
    shown_by: dict[str, tuple[str, ...]]
    """Digest -> products that show it, sorted."""

    def same(self, digest: str) -> frozenset[str]:
        """The digest and all that are the same picture."""
        return self.partners.get(digest, frozenset()) | {digest}

    def sellers(self, digest: str) -> set[str]:
        """Products that show this picture."""
        return {key for same in self.same(digest) for key in self.shown_by.get(same, ())}

    def alike(self, one: str, other: str) -> bool:
        """Whether two products share a picture."""
        theirs = set(self.of_product.get(other, ()))
        return any(not theirs.isdisjoint(self.same(digest)) for digest in self.of_product.get(one, ()))

    def pictures(self) -> Iterable[tuple[str, str]]:
        """Pairs of products that share a picture, first < second; a pair may come more than once."""
        for digest, keys in self.shown_by.items():
            for same in self.same(digest):
                if same >= digest:
                    yield from (
                        (min(a, b), max(a, b)) for a, b in pairs_of(keys, self.shown_by.get(same, ())) if a != b
                    )


def link_photos(catalog: Catalog, cfg: CuratingConfig, limits: ImageLimits) -> PhotoLinks:
    """Fingerprint every usable photograph once and find the pairs that are one picture.

    Raises:
        ImageError: A file changed since it was ingested.
    """
    ref_of: dict[str, str] = {}

    def usable(ref: str | None) -> str | None:
        record = catalog.images.get(ref) if ref else None
        if ref is None or record is None or not is_usable(record):
            return None
        ref_of[record.digest] = min(ref, ref_of.get(record.digest, ref))
        return record.digest

    ignored = set(cfg.ignored_photos)
    of_product = {
        row.product_id: tuple(digest for ref in row.images if (digest := usable(ref)) and digest not in ignored)
        for row in catalog.products
    }
    of_query = {row.query_id: digest for row in catalog.queries if (digest := usable(row.image))}
    digests = sorted({*of_query.values(), *(digest for photos in of_product.values() for digest in photos)})

    def printed(digest: str) -> Fingerprint:
        return fingerprint(catalog.photo(ref_of[digest]).load(limits))

    prints = list(map_in_order(printed, digests, cfg.num_workers))
    partners: dict[str, set[str]] = {}
    for rows, columns in near_identical_pairs(prints, cfg.near_identical_frac, cfg.near_identical_levels):
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            partners.setdefault(digests[row], set()).add(digests[column])
            partners.setdefault(digests[column], set()).add(digests[row])
    shown_by: dict[str, set[str]] = {}
    for key, photos in of_product.items():
        for digest in photos:
            shown_by.setdefault(digest, set()).add(key)
    return PhotoLinks(
        of_product,
        of_query,
        {digest: frozenset(others) for digest, others in partners.items()},
        {digest: tuple(sorted(keys)) for digest, keys in shown_by.items()},
    )


def has_something_to_show(catalog: Catalog, row: Product) -> bool:
    """A product without a title must have a photo that can be read."""
    return bool(row.title) or any(
        (record := catalog.images.get(ref)) is not None and is_usable(record) for ref in row.images
    )


def is_asked_with_photo(query: Query) -> bool:
    """Whether the query's own photo is part of what is asked, and not marked as an edit of a catalogue photo."""
    return bool(query.image) and not query.augmented
