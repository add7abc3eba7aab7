"""The URLs of a list, or of a table's columns."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import CatalogError
from catalog.sources.tables import read_rows

_TABLES = (".jsonl", ".parquet", ".csv", ".tsv")
_NOTED = 3
"""Examples kept of values that are no URL."""
_BATCH_ROWS = 4096


@dataclass
class UrlList:
    """URLs in order, each once, and what was left out."""

    urls: dict[str, None] = field(default_factory=dict)
    num_values: int = 0
    """Values that were URLs, repeated ones included."""
    num_left_out: int = 0
    """Values that are no URL, such as paths of files, and rows that cannot be read."""
    examples: list[str] = field(default_factory=list)
    """Of those, the first few, with their places."""

    def add_text(self, text: str, where: str) -> None:
        """Take one value; an empty one says nothing."""
        text = text.strip()
        if "://" in text:
            self.num_values += 1
            self.urls.setdefault(text)
        elif text:
            self.leave_out(text, where)

    def add_cell(self, cell: Any, where: str) -> None:
        """Take a table's cell: one URL, or a list of them, also as JSON text, which is how a CSV holds a list."""
        if isinstance(cell, str) and cell.lstrip().startswith("["):
            try:
                cell = json.loads(cell)
            except (ValueError, RecursionError):
                return self.leave_out(cell, where)
        if isinstance(cell, str):
            self.add_text(cell, where)
        elif isinstance(cell, list):
            for one in cell:
                if isinstance(one, str):
                    self.add_text(one, where)
                elif one is not None:
                    self.leave_out(repr(one), where)
        # A number that is not equal to itself is how pandas writes a missing value.
        elif cell is not None and cell == cell:
            self.leave_out(repr(cell), where)
        return None

    def leave_out(self, text: str, where: str) -> None:
        """Count a value that is no URL, and keep the first few as examples."""
        self.num_left_out += 1
        if len(self.examples) < _NOTED:
            self.examples.append(f"{where}: {text[:80]}")


def read_urls(path: str | Path, columns: Sequence[str] = ()) -> UrlList:
    """The URLs of a file.

    Args:
        path: `*.jsonl`, `*.parquet`, `*.csv` or `*.tsv` with the columns named; any other file is text with one URL
            a line, where empty lines and those that begin with `#` say nothing.
        columns: Of a table.

    Raises:
        CatalogError: The file cannot be read, has no such column, or holds no URL.
    """
    path = Path(path)
    found = UrlList()
    table = path.suffix.lower() in _TABLES
    try:
        if table:
            _read_table(path, list(dict.fromkeys(columns)), found)
        elif columns:
            raise CatalogError(
                "a text file has no columns",
                where=str(path),
                got=f"column {columns[0]}",
                allowed=f"columns of {', '.join(f'*{kind}' for kind in _TABLES)}",
                fix="name no column, or give the file the ending of what it is",
            )
        else:
            with path.open(encoding="utf-8-sig") as stream:
                for number, line in enumerate(stream, start=1):
                    if not line.startswith("#"):
                        found.add_text(line, f"{path.name}:{number}")
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise CatalogError(
            "the list of URLs cannot be read", where=str(path), got=str(error), fix="check the file and its encoding"
        ) from None
    if not found.urls:
        raise CatalogError(
            "there is no URL in it",
            where=str(path),
            got="; ".join(found.examples) or "nothing",
            allowed="values such as https://shop.example/a.jpg",
            fix="name the column that holds them" if table else "give a file with one URL a line",
        )
    return found


def _read_table(path: Path, columns: list[str], found: UrlList) -> None:
    known: dict[str, None] = {}
    for where, row in _rows(path, columns, known):
        if isinstance(row, str):
            found.leave_out(row, where)
            continue
        known |= dict.fromkeys(row)
        for name in columns:
            found.add_cell(row.get(name), where)
        if not columns:
            break
    missing = [name for name in columns if name not in known]
    if not columns or missing:
        near = difflib.get_close_matches(missing[0], known, n=1) if missing else []
        raise CatalogError(
            f"there is no column {missing[0]}" if missing else "which column holds the URLs is not said",
            where=str(path),
            allowed=", ".join(known)[:400],
            fix=f"--column {near[0]}" if near else "--column NAME; repeat it for several",
        )


def _rows(path: Path, columns: list[str], known: dict[str, None]) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Rows with their places; what is known of the columns before the first row goes into `known`."""
    kind = path.suffix.lower()
    if kind == ".jsonl":
        yield from read_rows(fsspec.filesystem("file"), str(path.parent), path.name)
    elif kind == ".parquet":
        with pq.ParquetFile(path) as file:
            known |= dict.fromkeys(file.schema_arrow.names)
            wanted = [name for name in columns if name in known]
            number = 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=wanted) if wanted else ():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}:{number}", row
    else:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t" if kind == ".tsv" else ",")
            known |= dict.fromkeys(reader.fieldnames or ())
            for row in reader:
                yield f"{path.name}:{reader.line_num}", row
