"""Which photographs are one picture, within the catalogue and across the sides of the split.

Works on the distinct files (by digest). Only the first partner of each kind is kept, so memory does not grow with the
size of a cluster of placeholder pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from catalog.catalog import IMAGE_OK, Catalog, ImageRecord
from catalog.images import ImageLimits
from catalog.likeness import Fingerprint, fingerprint, near_identical_pairs
from catalog.parallel import map_in_order
from catalog.rows import Query
from catalog.splits import Side, Splits
from validation.config import DataChecksConfig

_SEVERAL = -1
_NOBODY = -2


@dataclass
class FileUse:
    """Who uses one distinct image file."""

    refs: list[str] = field(default_factory=list)
    product_ids: list[str] = field(default_factory=list)
    group_ids: set[str] = field(default_factory=set)
    sides: set[Side] = field(default_factory=set)
    asked: bool = False
    """It is the photo of a query that is not marked as an edit of a catalogue photo."""
    asked_sides: set[Side] = field(default_factory=set)


@dataclass(frozen=True)
class Lookalikes:
    """For each image digest, the first other file that is the same picture; absent where there is none."""

    uses: dict[str, FileUse]
    in_other_group: dict[str, str]
    """Product photo -> digest of a near-identical product photo of another group."""
    on_test_side: dict[str, str]
    """Product photo off the test side -> digest of a near-identical one on it."""
    in_gallery: dict[str, str]
    """Query photo -> digest of a near-identical product photo."""


def find_lookalikes(catalog: Catalog, splits: Splits, config: DataChecksConfig, limits: ImageLimits) -> Lookalikes:
    """Fingerprint every usable photograph once and find near-identical ones.

    Args:
        catalog: With image records; unusable images are passed over.
        splits: Sides of products and queries.
        config: Thresholds and number of threads; the result does not depend on the latter.
        limits: What decoding an image may cost.

    Raises:
        ImageError: A file changed since it was ingested.
    """
    uses = _uses(catalog, splits)
    digests = list(uses)

    def printed(digest: str) -> Fingerprint:
        return fingerprint(catalog.photo(uses[digest].refs[0]).load(limits))

    prints = list(map_in_order(printed, digests, config.num_workers))
    pairs = near_identical_pairs(prints, config.near_identical_frac, config.near_identical_levels)
    return _first_partners(uses, digests, pairs)


def _uses(catalog: Catalog, splits: Splits) -> dict[str, FileUse]:
    uses: dict[str, FileUse] = {}

    def use_of(ref: str) -> FileUse | None:
        record = catalog.images.get(ref)
        if record is None or not is_usable(record):
            return None
        use = uses.setdefault(record.digest, FileUse())
        if ref not in use.refs:
            use.refs.append(ref)
        return use

    for product in catalog.products:
        for ref in product.images:
            if use := use_of(ref):
                use.product_ids.append(product.product_id)
                use.group_ids.add(product.group_id)
                use.sides.add(splits.side_of[product.product_id])
    side_of_query = {query.query_id: side for side, queries in splits.queries.items() for query in queries}
    for query in catalog.queries:
        if query.image and (use := use_of(query.image)):
            use.asked = use.asked or is_asked(query)
            if query.query_id in side_of_query:
                use.asked_sides.add(side_of_query[query.query_id])
    return uses


def is_usable(record: ImageRecord) -> bool:
    """Whether the file could be decoded when it was ingested."""
    return record.status == IMAGE_OK and bool(record.digest)


def is_asked(query: Query) -> bool:
    """Whether finding the query's photo in the catalogue would be a leak: an edit says of itself that it is one."""
    return bool(query.image) and not query.augmented


def _first_partners(
    uses: dict[str, FileUse], digests: list[str], pairs: Iterator[tuple[np.ndarray, np.ndarray]]
) -> Lookalikes:
    codes = {group: code for code, group in enumerate(sorted({g for use in uses.values() for g in use.group_ids}))}
    group = np.array([_group_code(uses[digest], codes) for digest in digests], dtype=np.int64)
    sold = group != _NOBODY
    on_test = np.array([Side.TEST in uses[digest].sides for digest in digests], dtype=bool)
    off_test = np.array([bool(uses[digest].sides - {Side.TEST}) for digest in digests], dtype=bool)
    asked = np.array([uses[digest].asked for digest in digests], dtype=bool)
    absent = len(digests)
    first = {kind: np.full(len(digests), absent, dtype=np.int64) for kind in ("group", "test", "gallery")}
    for i, j in pairs:
        for a, b in ((i, j), (j, i)):
            other_group = sold[a] & sold[b] & ((group[a] != group[b]) | (group[a] == _SEVERAL))
            np.minimum.at(first["group"], a[other_group], b[other_group])
            crosses = off_test[a] & on_test[b]
            np.minimum.at(first["test"], a[crosses], b[crosses])
            found = asked[a] & sold[b]
            np.minimum.at(first["gallery"], a[found], b[found])
    named = {
        kind: {digests[a]: digests[b] for a, b in enumerate(partners) if b != absent}
        for kind, partners in first.items()
    }
    return Lookalikes(uses, named["group"], named["test"], named["gallery"])


def _group_code(use: FileUse, codes: dict[str, int]) -> int:
    if not use.group_ids:
        return _NOBODY
    return codes[next(iter(use.group_ids))] if len(use.group_ids) == 1 else _SEVERAL
