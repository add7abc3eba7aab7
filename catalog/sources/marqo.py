"""Marqo's GoogleShopping sets as published: a row is one product that a shop search showed for one query."""

from __future__ import annotations

from catalog.config import CatalogConfig, QueryColumns
from catalog.sources.column_map import ColumnMap, ImageColumns
from catalog.sources.gathering import SourceRows
from catalog.sources.mapped import read_mapped
from catalog.sources.notes import OnError

MARQO_MAP = ColumnMap(
    product_id="item_ID",
    title="title",
    images=ImageColumns(columns=("image",)),
    # An item stands once for each query that it was shown for; its first row is the product.
    repeats="first",
    queries=QueryColumns(text="query", position="position"),
)
COLUMNS = ("image", "item_ID", "query", "title", "position")


def read_marqo(config: CatalogConfig, on_error: OnError, work_dir: str, max_rows: int | None = None) -> SourceRows:
    """Read products, one an `item_ID`, and queries, one a text with all products that it was answered with.

    Raises:
        CatalogError: Nothing to read, or bad rows under `stop`.
        ConfigError: A column is missing.
    """
    return read_mapped(config, MARQO_MAP, on_error, work_dir, max_rows=max_rows)
