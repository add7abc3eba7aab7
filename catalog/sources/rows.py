"""Raw rows to typed ones: aliases mapped, unknown columns kept, faults told in the user's words."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from catalog.rows import Product, Query
from catalog.sources.notes import IngestNotes, RowError
from catalog.sources.tables import RawRow
from catalog.sources.values import CellReader, image_reference
from catalog.text import cut_text

_PRODUCT_COLUMNS = tuple(Product.model_fields)
_QUERY_COLUMNS = tuple(Query.model_fields)


def product_of(row: RawRow, where: str, notes: IngestNotes, max_title_chars: int) -> Product:
    """The typed product of one raw row.

    Args:
        row: A parsed line or Parquet row.
        where: `file:line`, for the notes.
        notes: Gathers what was changed.
        max_title_chars: Longer titles are cut.

    Raises:
        RowError: The row cannot be a product; says why and how to write it.
    """
    row, more = _split_image_info(row)
    cells = CellReader(row, where, notes)
    product_id = cells.identifier("product_id")
    title = cells.text("title")
    if title and len(title) > max_title_chars:
        title = cut_text(title, max_title_chars)
        notes.add(f"title cut to {max_title_chars} characters", where)
    fields = {
        "product_id": product_id,
        "group_id": cells.identifier("group_id") if _given(row, "group_id") else product_id,
        "title": title,
        "category": cells.words("category"),
        "attributes": cells.attributes(),
        "description": cells.text("description", one_line=False),
        "images": cells.references("images"),
        "image_roles": tuple(str(role or "") for role in cells.listed("image_roles")),
        "boxes": tuple(cells.listed("boxes")),
        "price": cells.number("price"),
        "url": cells.text("url"),
        "extra": {name: cells.plain(value, name) for name, value in more.items()} | _extra(cells, _PRODUCT_COLUMNS),
    }
    try:
        return Product.model_validate(fields)
    except ValidationError as error:
        raise RowError(_told(error)) from None


def query_of(row: RawRow, where: str, notes: IngestNotes) -> Query:
    """The typed query of one raw row; `type` is read as `kind`.

    Raises:
        RowError: The row cannot be a query; says why and how to write it.
    """
    if "kind" not in row and "type" in row:
        row = {("kind" if name == "type" else name): value for name, value in row.items()}
    cells = CellReader(row, where, notes)
    weight = cells.number("weight")
    fields = {
        "query_id": cells.identifier("query_id"),
        "kind": cells.text("kind"),
        "text": cells.text("text", one_line=False),
        "image": image_reference(row["image"], "image") if _given(row, "image") else None,
        "box": row.get("box"),
        "product_ids": cells.identifiers("product_ids"),
        "anchor_ids": cells.identifiers("anchor_ids"),
        "label": cells.text("label"),
        "timestamp": cells.seconds("timestamp"),
        "weight": 1.0 if weight is None else weight,
        "signal": cells.text("signal") or "none",
        "augmented": cells.flag("augmented"),
        "extra": _extra(cells, _QUERY_COLUMNS),
    }
    try:
        return Query.model_validate(fields)
    except ValidationError as error:
        raise RowError(_told(error)) from None


def row_id(row: RawRow | str, name: str) -> str:
    """The id a bad row claims to have, for the message; empty where it has none."""
    value = row.get(name) if isinstance(row, dict) else None
    return str(value) if isinstance(value, str | int) else ""


def _given(row: RawRow, name: str) -> bool:
    value = row.get(name)
    return value is not None and value != "" and value == value


def _split_image_info(row: RawRow) -> tuple[RawRow, dict[str, Any]]:
    """`image_info` holds one object an image: its role is ours, the rest is kept beside the row."""
    info = row.get("image_info")
    if "image_roles" in row or not isinstance(info, list) or not all(isinstance(one, dict) for one in info):
        return row, {}
    rest = [{name: value for name, value in one.items() if name != "role" and value is not None} for one in info]
    row = {name: value for name, value in row.items() if name != "image_info"}
    return row | {"image_roles": [one.get("role") for one in info]}, {"image_info": rest} if any(rest) else {}


def _extra(cells: CellReader, known: tuple[str, ...]) -> dict[str, Any]:
    """Columns the schema does not know; empty ones are left out, so that JSON lines and Parquet read the same."""
    extra = {}
    for name, value in cells.mapping("extra").items():
        extra[cells.clean(name, "extra")] = cells.plain(value, "extra")
    for name in cells.row:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            near = [match for match in near if match not in cells.row]
            cells.notes.add_unknown(cells.where.partition(":")[0], name, near[0] if near else "")
            extra[name] = cells.plain(cells.row[name], name)
    return {name: value for name, value in extra.items() if value is not None and value != ""}


def _told(error: ValidationError) -> str:
    """Pydantic's findings as one line."""
    told = []
    for fault in error.errors():
        place = ".".join(map(str, fault["loc"]))
        text = fault["msg"].removeprefix("Value error, ")
        told.append(f"{place}: {text}, got {fault['input']!r:.60}" if place else text)
    return "; ".join(told)
