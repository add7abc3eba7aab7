"""The folder source: products.jsonl or products.parquet, queries beside them, photographs below."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

from fsspec import AbstractFileSystem

from catalog.catalog import resolve_root
from catalog.config import CatalogConfig
from catalog.errors import CatalogError
from catalog.sources.gathering import Placed, SourceRows, as_written, gather_products, gather_queries
from catalog.sources.notes import FaultLog, IngestNotes, OnError
from catalog.sources.places import place_of
from catalog.sources.tables import find_table, read_rows


def read_folder(config: CatalogConfig, on_error: OnError, max_rows: int | None = None) -> SourceRows:
    """Read and check the tables at `config.path`.

    Args:
        config: `path` may be relative, absolute or an fsspec URL; see `resolve_root`.
        on_error: `stop` tells the first ten bad rows in one error; `quarantine` sets bad rows aside and goes on.
        max_rows: Read no more of each table, for a look; references of queries are then not checked.

    Raises:
        CatalogError: No such folder, no or two product tables, nothing to read, or bad rows under `stop`.
    """
    path = str(config.path)
    root = resolve_root(path)
    fs, base = place_of(root)
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
    products = gather_products(_rows(fs, base, tables["products"], max_rows), notes, faults, config.max_title_chars)
    queries = gather_queries(
        _rows(fs, base, tables["queries"], max_rows), products, notes, faults, whole=max_rows is None
    )
    faults.stop_if_any(root)
    if not products and not queries:
        _refuse_empty(root, tables["products"], faults)
    return SourceRows(
        name=os.path.basename(base) or "catalog",
        root=root,
        image_root=as_written(path),
        products=products,
        queries=queries,
        bad_rows=tuple(faults.rows),
        notes=notes.lines(),
    )


def _rows(fs: AbstractFileSystem, base: str, name: str | None, max_rows: int | None) -> Iterator[Placed]:
    return islice(read_rows(fs, base, name), max_rows) if name else iter(())


def _refuse_empty(root: str, table: str | None, faults: FaultLog) -> None:
    raise CatalogError(
        "empty catalogue: no usable product",
        where=f"{root}/{table}" if table else root,
        got=faults.told() or ("a file without rows" if table else "neither products.jsonl nor products.parquet"),
        allowed="at least one product row, or photo_label queries for an evaluation set",
        fix="write one JSON object a line with product_id, and title or images"
        if table
        else "moon data inspect says which source reads what is there; name it as catalog.source",
    )
