"""The folder source: products.jsonl or products.parquet, queries beside them, photographs below."""

from __future__ import annotations

import os
from dataclasses import dataclass

import fsspec
from fsspec import AbstractFileSystem

from catalog.catalog import BadRow, resolve_root
from catalog.config import CatalogConfig
from catalog.errors import CatalogError
from catalog.rows import Product, Query, QueryKind
from catalog.sources.notes import FaultLog, IngestNotes, OnError, RowError
from catalog.sources.rows import product_of, query_of, row_id
from catalog.sources.tables import find_table, read_rows


@dataclass(frozen=True)
class FolderRows:
    """What the tables of a folder hold, before any photograph is looked at."""

    name: str
    root: str
    image_root: str
    products: tuple[Product, ...]
    queries: tuple[Query, ...]
    bad_rows: tuple[BadRow, ...]
    notes: tuple[str, ...]


def read_folder(config: CatalogConfig, on_error: OnError) -> FolderRows:
    """Read and check the tables at `config.path`.

    Args:
        config: `path` may be relative, absolute or an fsspec URL; see `resolve_root`.
        on_error: `stop` tells the first ten bad rows in one error; `quarantine` sets bad rows aside and goes on.

    Raises:
        CatalogError: No such folder, no or two product tables, nothing to read, or bad rows under `stop`.
    """
    path = str(config.path)
    root = resolve_root(path)
    fs, base = fsspec.url_to_fs(root)
    base = base.rstrip("/")
    if not fs.isdir(base):
        raise CatalogError(
            "catalogue folder does not exist" if not fs.exists(base) else "catalogue path is not a folder",
            where=root,
            got=f"catalog.path: {path}",
            allowed="a folder with products.jsonl or products.parquet",
            fix="correct catalog.path; a path below data/ follows the variable MOON_DATA",
        )
    tables = {stem: find_table(fs, base, stem) for stem in ("products", "queries")}
    notes, faults = IngestNotes(), FaultLog(on_error)
    products = _read_products(fs, base, tables["products"], config, notes, faults)
    queries = _read_queries(fs, base, tables["queries"], products, notes, faults)
    faults.stop_if_any(root)
    if not products and not queries:
        _refuse_empty(root, tables["products"], faults)
    return FolderRows(
        name=os.path.basename(base) or "catalog",
        root=root,
        image_root=path.rstrip("/") if "://" in path or not os.path.isabs(path) else _from_here(path),
        products=products,
        queries=queries,
        bad_rows=tuple(faults.rows),
        notes=notes.lines(),
    )


def _from_here(path: str) -> str:
    """An absolute path as one relative to the working folder, which resolves to the same place."""
    relative = os.path.relpath(path)
    # An absolute path never followed MOON_DATA, so what stands for it must not either.
    return relative if resolve_root(relative) == os.path.abspath(path) else os.path.join(".", relative)


def _read_products(
    fs: AbstractFileSystem, base: str, name: str | None, config: CatalogConfig, notes: IngestNotes, faults: FaultLog
) -> tuple[Product, ...]:
    found: dict[str, Product] = {}
    lines: dict[str, str] = {}
    for where, row in read_rows(fs, base, name) if name else ():
        try:
            if isinstance(row, str):
                raise RowError(row)
            product = product_of(row, where, notes, config.max_title_chars)
            if product.product_id in found:
                raise RowError(f"product_id stands already in {lines[product.product_id]}; ids must be unique")
        except RowError as fault:
            faults.add(where, row_id(row, "product_id"), str(fault))
            continue
        found[product.product_id], lines[product.product_id] = product, where
    return tuple(found.values())


def _read_queries(
    fs: AbstractFileSystem,
    base: str,
    name: str | None,
    products: tuple[Product, ...],
    notes: IngestNotes,
    faults: FaultLog,
) -> tuple[Query, ...]:
    # Where product rows are bad, an id that is not found may be one of theirs: the run stops for those rows anyway.
    check_references = faults.on_error == "quarantine" or not faults.num_faults
    known = {product.product_id for product in products}
    found: dict[str, Query] = {}
    for where, row in read_rows(fs, base, name) if name else ():
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


def _refuse_empty(root: str, table: str | None, faults: FaultLog) -> None:
    raise CatalogError(
        "empty catalogue: no usable product",
        where=f"{root}/{table}" if table else root,
        got=faults.told() or ("a file without rows" if table else "neither products.jsonl nor products.parquet"),
        allowed="at least one product row, or photo_label queries for an evaluation set",
        fix="write one JSON object a line with product_id, and title or images",
    )
