"""Rows of any source to the products and queries of a catalogue: every fault is told here, in one voice."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from catalog.catalog import BadRow, resolve_root
from catalog.rows import Product, Query, QueryKind
from catalog.sources.notes import FaultLog, IngestNotes, OnError, RowError
from catalog.sources.rows import product_of, query_of, row_id
from catalog.sources.tables import RawRow

Placed = tuple[str, RawRow | str]
"""`file:line` and the row there in our columns, or the reason why there is none."""

Repeats = Literal["refuse", "same", "first"]
"""What a product_id that stands twice is: a fault; a fault unless the rows say the same; or the first row's."""


@dataclass(frozen=True)
class SourceRows:
    """What a source's tables hold, before any photograph is looked at."""

    name: str
    root: str
    image_root: str
    products: tuple[Product, ...]
    queries: tuple[Query, ...]
    bad_rows: tuple[BadRow, ...]
    notes: tuple[str, ...]
    missing_urls: tuple[str, ...] = ()
    """Addresses of photographs that are not on disk, those of bad rows included."""


def gather_products(
    rows: Iterable[Placed], notes: IngestNotes, faults: FaultLog, max_title_chars: int, repeats: Repeats = "refuse"
) -> tuple[Product, ...]:
    """The products of `rows`, which are read one by one; bad ones go to `faults`."""
    found: dict[str, Product] = {}
    lines: dict[str, str] = {}
    for where, row in rows:
        try:
            if isinstance(row, str):
                raise RowError(row)
            product = product_of(row, where, notes, max_title_chars)
            if (known := found.get(product.product_id)) is not None:
                _check_repeat(product, known, repeats, where, lines[product.product_id], notes)
                continue
        except RowError as fault:
            faults.add(where, row_id(row, "product_id"), str(fault))
            continue
        found[product.product_id], lines[product.product_id] = product, where
    return tuple(found.values())


def _check_repeat(
    product: Product, known: Product, repeats: Repeats, where: str, before: str, notes: IngestNotes
) -> None:
    same = product == known
    if repeats == "refuse" or (repeats == "same" and not same):
        differ = [name for name in Product.model_fields if getattr(product, name) != getattr(known, name)]
        how = f", with another {', '.join(differ)}" if repeats == "same" else ""
        raise RowError(f"product_id stands already in {before}{how}; ids must be unique")
    if repeats == "same":
        notes.add("products that stand twice and say the same taken once", where)
    elif not same:
        notes.add("products that stand again with other fields: the first row counts", where)


def gather_queries(
    rows: Iterable[Placed],
    products: tuple[Product, ...],
    notes: IngestNotes,
    faults: FaultLog,
    *,
    whole: bool = True,
) -> tuple[Query, ...]:
    """The queries of `rows`, with references that resolve.

    Args:
        rows: In the columns of a query.
        products: What they may refer to.
        notes: Gathers what was changed.
        faults: Gathers what cannot be used.
        whole: Whether `products` are all there are; of a part, references are not checked.
    """
    # Where product rows are bad, an id that is not found may be one of theirs: the run stops for those rows anyway.
    check_references = whole and (faults.on_error == "quarantine" or not faults.num_faults)
    known = {product.product_id for product in products}
    found: dict[str, Query] = {}
    for where, row in rows:
        try:
            if isinstance(row, str):
                raise RowError(row)
            query = query_of(row, where, notes)
            if query.query_id in found:
                raise RowError("query_id stands twice; ids must be unique")
            if not products and query.kind is not QueryKind.PHOTO_LABEL and not faults.num_faults:
                raise RowError(f"empty catalogue: a query of kind {query.kind} needs products, and there are none")
            if check_references:
                query = _resolved(query, known, where, notes, faults.on_error)
        except RowError as fault:
            faults.add(where, row_id(row, "query_id"), str(fault))
            continue
        found[query.query_id] = query
    return tuple(found.values())


def _resolved(query: Query, known: set[str], where: str, notes: IngestNotes, on_error: OnError) -> Query:
    """`query` with references that resolve.

    Raises:
        RowError: Products are missing; under quarantine only when what is left makes no query.
    """
    lost = [key for key in (*query.product_ids, *query.anchor_ids) if key not in known]
    if not lost:
        return query
    answers = tuple(key for key in query.product_ids if key in known)
    anchors = tuple(key for key in query.anchor_ids if key in known)
    gone = (query.product_ids and not answers) or (query.anchor_ids and not anchors)
    if on_error == "stop" or gone:
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise RowError(f"refers to products that are not in the catalogue: {', '.join(lost[:5])}{more}")
    notes.add("references to products that are not in the catalogue left out", where)
    return query.model_copy(update={"product_ids": answers, "anchor_ids": anchors})


def as_written(path: str) -> str:
    """`path` as a catalogue keeps it: relative to the working folder, so that no absolute path lies in an artifact."""
    if "://" in path or not os.path.isabs(path):
        return path.rstrip("/")
    relative = os.path.relpath(path)
    # An absolute path never followed MOON_DATA, so what stands for it must not either.
    return relative if resolve_root(relative) == os.path.abspath(path) else os.path.join(".", relative)
