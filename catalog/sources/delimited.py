"""Rows out of comma- or tab-separated text, as spreadsheets and shops write it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol, TextIO

from catalog.errors import CatalogError

MAX_CELL_CHARS = 16 * 1024 * 1024
"""A description in HTML passes the csv module's own limit of 131,072; one past this is a quote never closed."""

_DAMAGED = re.compile("[\udc80-\udcff]")
_DELIMITERS = (",", "\t", ";")


class _Reader(Protocol):
    """What `csv.reader` gives; its own type has no public name."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...


def csv_rows(stream: BinaryIO, name: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield `(file:line, row)` for each row below the header, or `(file:line, reason)`.

    Cells may hold quotes and line ends inside quotes. Empty cells are None, every other cell is text: a product
    number with leading zeros stays what it is. A row that ends early lacks its last cells, as spreadsheets write it.

    Args:
        stream: UTF-8 with or without a byte order mark; line ends of any system.
        name: Of the file, for the place of a row.

    Raises:
        CatalogError: The header is not UTF-8.
    """
    header, reader = _opened(stream, name)
    start = reader.line_num + 1
    try:
        for cells in reader:
            where, start = f"{name}:{start}", reader.line_num + 1
            if any(cells):
                yield where, _row(header, cells)
    except csv.Error as error:
        yield f"{name}:{reader.line_num}", f"broken CSV: {error}; the rest of the file cannot be read"


def csv_header(stream: BinaryIO, name: str) -> list[str]:
    """The names in the header, empty ones apart; rows are not looked at.

    Raises:
        CatalogError: It is not UTF-8.
    """
    return [cell for cell in _opened(stream, name)[0] if cell]


def _opened(stream: BinaryIO, name: str) -> tuple[list[str], _Reader]:
    # Damaged bytes become lone surrogates, so that the one row that holds them is told and not the whole file.
    text: TextIO = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))
    first = text.readline()
    reader = csv.reader(_from(first, text), delimiter=_delimiter(first))
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise _no_header(name, str(error)) from None
    if any(_DAMAGED.search(cell) or "\0" in cell for cell in header):
        raise _no_header(name, ascii(first[:40]))
    return header, reader


def _no_header(name: str, got: str) -> CatalogError:
    return CatalogError(
        f"{name} has no header in UTF-8",
        where=f"{name}:1",
        got=got,
        allowed="columns' names as text in UTF-8, with or without a byte order mark",
        fix="save the file as CSV in UTF-8; spreadsheets also write UTF-16 and the machine's own encoding",
    )


def _from(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """The one that the header has most of: European spreadsheets write semicolons into .csv."""
    return max(_DELIMITERS, key=header.count)


def _row(header: list[str], cells: list[str]) -> dict[str, Any] | str:
    if len(cells) > len(header) and any(cells[len(header) :]):
        return (
            f"{len(cells)} cells where the header has {len(header)}; "
            "put a cell with a comma, a quote or a line end in quotes"
        )
    if any(_DAMAGED.search(cell) for cell in cells):
        return "not UTF-8; save the file as UTF-8"
    cells = cells + [""] * (len(header) - len(cells))
    return {name: cell or None for name, cell in zip(header, cells, strict=False) if name}
