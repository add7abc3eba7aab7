"""Which source reads the data at a path, told by its files and columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from catalog.catalog import resolve_root
from catalog.config import Source
from catalog.errors import CatalogError
from catalog.sources import marqo, mbe
from catalog.sources.column_map import ColumnMap
from catalog.sources.files import HUB, DataFiles, find_files
from catalog.sources.places import place_of
from catalog.sources.shopify_cells import COLUMNS as SHOPIFY_COLUMNS
from catalog.sources.shopify_cells import columns_of_header, metafields_of_header
from catalog.sources.tables import columns_of, find_table

_GUESSES = {
    "product_id": ("product_id", "item_id", "id", "sku", "asin", "pid"),
    "title": ("title", "product_title", "name", "product_name", "item_name"),
    "images": ("image", "images", "image_url", "image_path", "img", "picture"),
    "category": ("category", "categories", "category_path", "category_name", "product_type"),
    "description": ("description", "product_description", "body", "text"),
    "query": ("query", "search_query", "query_text"),
}
"""Names by which published tables commonly call what we ask for; only a draft is made of them."""


@dataclass(frozen=True)
class Detection:
    """A source, why, and what becomes of the columns."""

    source: Source
    confidence: float
    """0 to 1: the share of the source's columns that are there; 1 for our own tables; 0 where only a map helps."""
    why: str
    mapped: dict[str, str] = field(default_factory=dict)
    """Our field to the column that fills it."""
    missing: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    num_files: int = 1

    def recipe(self, path: str, image_root: str | None = None) -> str:
        """What to write in a recipe."""
        more = ", columns: MAP.yaml" if self.source == "columns" else ""
        more += f", image_root: {image_root}" if image_root else ""
        return f"catalog: {{source: {self.source}, path: {path}{more}}}"

    def draft(self) -> str:
        """A column map to begin from, for source columns."""
        made: dict[str, Any] = {"schema_version": 1}
        made |= {key: self.mapped[key] for key in ("product_id", "title", "description") if key in self.mapped}
        made |= {key: {"columns": [self.mapped[key]]} for key in ("category", "images") if key in self.mapped}
        if "query" in self.mapped:
            made["queries"] = {"text": self.mapped["query"]}
        # A value a line; what YAML would read as something else, such as `id: 1` or [name], comes out quoted.
        one_line = {"allow_unicode": True, "width": 4096, "default_flow_style": True}
        return "\n".join(yaml.safe_dump({key: value}, **one_line).strip()[1:-1] for key, value in made.items())


def detect(path: str) -> Detection:
    """Say which source fits the data at `path`; nothing but headers and first rows is read.

    Raises:
        CatalogError: Nothing there, no file of rows, or no row that can be read.
    """
    if not path.startswith(HUB):
        fs, base = place_of(resolve_root(path))
        if fs.isdir(base):
            tables = [name for stem in ("products", "queries") if (name := find_table(fs, base, stem))]
            if tables and _published(columns_of(fs, base, tables[0])).confidence == 0:
                return Detection("folder", 1.0, f"it has {' and '.join(tables)}, MOON's own tables")
    files = find_files(path)
    present = files.columns()
    if not present:
        _refuse_unread(files)
    best = _published(present)
    return _counted(best if best.confidence > 0 else _columns(present), files)


def _refuse_unread(files: DataFiles) -> NoReturn:
    """Say why no column was found.

    Raises:
        CatalogError: Always.
    """
    first = next((f"{where}: {row}" for where, row in files.rows() if isinstance(row, str)), "files without rows")
    raise CatalogError(
        "no row that can be read",
        where=f"{files.root}/{files.names[0]}" if len(files.names) == 1 else files.root,
        got=first,
        allowed="rows of columns, text in UTF-8",
        fix="mend the file, or name another",
    )


def _published(present: dict[str, bool]) -> Detection:
    """The published form that these columns are most of; of confidence 0 where they are of none."""
    return max((_mbe(present), _marqo(present), _shopify(present)), key=lambda one: one.confidence)


def _counted(found: Detection, files: DataFiles) -> Detection:
    return Detection(
        found.source, found.confidence, found.why, found.mapped, found.missing, found.unmapped, len(files.names)
    )


def _mbe(present: dict[str, bool]) -> Detection:
    known = mbe.MBE_MAP.product_columns()
    here = {key: column for key, column in known.items() if column in present}
    documents = [column for column in here.values() if column.startswith("doc_")]
    enough = "id" in present and ("doc_title" in present or "doc_image" in present)
    lost = [column for column in known.values() if column not in present]
    return Detection(
        "mbe",
        len(here) / len(known) if enough else 0.0,
        f"it has id and {len(documents)} of the {len(known) - 1} doc_ columns of MBE",
        here,
        (*lost, "query side: its columns are not known; map them with catalog.query_columns"),
        tuple(column for column in present if column not in known.values()),
    )


def _marqo(present: dict[str, bool]) -> Detection:
    here = [column for column in marqo.COLUMNS if column in present]
    whole = len(here) == len(marqo.COLUMNS)
    return Detection(
        "marqo",
        1.0 if whole else 0.0,
        f"it has the columns {', '.join(here)} of Marqo's GoogleShopping sets",
        {
            "product_id": "item_ID",
            "title": "title",
            "images": "image",
            "queries.text": "query",
            "queries.extra.positions": "position",
        },
        ("category and attributes: the set has none",),
        tuple(column for column in present if column not in marqo.COLUMNS),
    )


def _shopify(present: dict[str, bool]) -> Detection:
    here = columns_of_header(present)
    fields = metafields_of_header(present)
    enough = {"handle", "title"} <= set(here) and bool({"option1_name", "image", "variant_image", "price"} & set(here))
    named = ", ".join(list(here.values())[:4])
    return Detection(
        "shopify",
        len(here) / len(SHOPIFY_COLUMNS) if enough else 0.0,
        f"it has {len(here)} of the {len(SHOPIFY_COLUMNS)} columns read of a Shopify product export, such as {named}",
        here | {f"attributes.{name}": column for column, name in fields.items()},
        (
            *(names[0] for short, names in SHOPIFY_COLUMNS.items() if short not in here),
            "queries: a product export holds none",
        ),
        tuple(column for column in present if column not in here.values() and column not in fields),
    )


def _columns(present: dict[str, bool]) -> Detection:
    folded = {_folded(column): column for column in reversed(present)}
    draft: dict[str, str] = {}
    for key, names in _GUESSES.items():
        column = next((folded[_folded(name)] for name in names if _folded(name) in folded), None)
        if column and column not in draft.values():
            draft[key] = column
    asked = [name for name in ("product_id", "title", "category", "attributes", "images") if name not in draft]
    return Detection(
        "columns",
        0.0,
        f"its columns are none that a source here knows: {', '.join(present) or 'no row'}",
        draft,
        tuple(f"{name}: name its column in the map" for name in asked if name in ColumnMap.model_fields),
        tuple(column for column in present if column not in draft.values()),
    )


def _folded(name: str) -> str:
    """A name without letter case, spaces and underscores."""
    return "".join(char for char in name.casefold() if char.isalnum())
