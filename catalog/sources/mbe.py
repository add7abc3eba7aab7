"""MBE as published: JSON lines of documents, five category columns and attributes in one cell.

The names of the columns and the syntax of `doc_attributes` are those that programs which load the set use. What its
queries' columns are called is not known here: they are mapped by `catalog.query_columns`, and missing ones are told.
"""

from __future__ import annotations

from catalog.config import CatalogConfig
from catalog.errors import CatalogError
from catalog.sources.column_map import AttributeColumns, CategoryColumns, ColumnMap, ImageColumns, without_missing
from catalog.sources.files import find_files
from catalog.sources.gathering import SourceRows
from catalog.sources.mapped import read_mapped
from catalog.sources.notes import IngestNotes, OnError

LEVELS = ("doc_industry_name", "doc_cate1_name", "doc_cate2_name", "doc_cate3_name", "doc_cate4_name")
MBE_MAP = ColumnMap(
    product_id="id",
    title="doc_title",
    category=CategoryColumns(columns=LEVELS),
    attributes=AttributeColumns(column="doc_attributes", pair_separator=",,", key_separator=":", value_separator="!!!"),
    images=ImageColumns(columns=("doc_image",)),
)
COLUMNS = tuple(MBE_MAP.product_columns().values())
NO_QUERIES = "the query side is not mapped, so there are no queries: name its columns in catalog.query_columns"


def read_mbe(config: CatalogConfig, on_error: OnError, work_dir: str, max_rows: int | None = None) -> SourceRows:
    """Read MBE's documents, and its queries where `config.query_columns` says how.

    Raises:
        CatalogError: Not MBE, nothing to read, or bad rows under `stop`.
        ConfigError: `query_columns` names a column that is not there.
    """
    notes, files = IngestNotes(), find_files(str(config.path))
    present = files.columns(COLUMNS, max_rows)
    if MBE_MAP.product_id not in present:
        raise CatalogError(
            "no MBE: rows without an id",
            where=files.root,
            got=", ".join(present) or "no row",
            allowed=", ".join(COLUMNS),
            fix="`moon data inspect` says which source fits",
        )
    column_map, lost = without_missing(MBE_MAP, present)
    if lost:
        notes.tell(f"columns of MBE that this copy lacks: {', '.join(lost)}")
    if config.query_columns is None:
        notes.tell(NO_QUERIES)
    column_map = column_map.model_copy(update={"queries": config.query_columns})
    return read_mapped(config, column_map, on_error, work_dir, notes=notes, max_rows=max_rows)
