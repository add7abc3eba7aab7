"""The URLs of a list, or of a table's columns."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec

from catalog.errors import CatalogError
from catalog.sources.pictures import full_url
from catalog.sources.tables import FORMATS, columns_of, format_of, read_rows

_NOTED = 3
"""Examples kept of values that are no URL."""


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
        """Take one value; an empty one says nothing, and `//host/path`, as shops write it, is taken over https."""
        text = full_url(text)
        if "://" in text:
            self.num_values += 1
            self.urls.setdefault(text)
        elif text:
            self.leave_out(text, where)

    def add_cell(self, cell: Any, where: str) -> None:
        """Take a table's cell: a URL, an object with `url` or `path`, or a list of them, also as JSON text."""
        if isinstance(cell, str) and cell.lstrip().startswith("["):
            try:
                cell = json.loads(cell)
            except (ValueError, RecursionError):
                return self.leave_out(cell, where)
        for one in cell if isinstance(cell, list) else [cell]:
            if isinstance(one, dict):
                one = one.get("url") or one.get("path") or repr(one)
            if isinstance(one, str):
                self.add_text(one, where)
            # A number that is not equal to itself is how pandas writes a missing value.
            elif one is not None and one == one:
                self.leave_out(repr(one), where)
        return None

    def leave_out(self, text: str, where: str) -> None:
        """Count a value that is no URL, and keep the first few as examples."""
        self.num_left_out += 1
        if len(self.examples) < _NOTED:
            self.examples.append(f"{where}: {text[:80]}")


def read_urls(path: str | Path, columns: Sequence[str] = ()) -> UrlList:
    """The URLs of a file.

    Args:
        path: A table of one of `catalog.sources.tables.FORMATS`, with the columns named; any other file is text with
            one URL a line, where empty lines and those that begin with `#` say nothing.
        columns: Of a table.

    Raises:
        CatalogError: The file cannot be read, has no such column, or holds no URL.
    """
    path = Path(path)
    found = UrlList()
    table = format_of(path.name) is not None
    try:
        if table:
            _read_table(path, list(dict.fromkeys(columns)), found)
        elif columns:
            raise CatalogError(
                "a text file has no columns",
                where=str(path),
                got=f"column {columns[0]}",
                allowed=f"columns of {', '.join(f'*{kind}' for kind in FORMATS)}",
                fix="name no column, or give the file the ending of what it is",
            )
        else:
            with path.open(encoding="utf-8-sig") as stream:
                for number, line in enumerate(stream, start=1):
                    if not line.startswith("#"):
                        found.add_text(line, f"{path.name}:{number}")
    except (OSError, UnicodeDecodeError) as error:
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
    fs, base = fsspec.filesystem("file"), str(path.parent)
    known = dict.fromkeys(columns_of(fs, base, path.name))
    for where, row in read_rows(fs, base, path.name, without=known.keys() - set(columns)) if columns else ():
        if isinstance(row, str):
            found.leave_out(row, where)
            continue
        # JSON lines have no header: a column may come in any row.
        known |= dict.fromkeys(row)
        for name in columns:
            found.add_cell(row.get(name), where)
    missing = [name for name in columns if name not in known]
    if not columns or missing:
        near = difflib.get_close_matches(missing[0], known, n=1) if missing else []
        raise CatalogError(
            f"there is no column {missing[0]}" if missing else "which column holds the URLs is not said",
            where=str(path),
            allowed=", ".join(known)[:400],
            fix=f"--column {near[0]}" if near else "--column NAME; repeat it for several",
        )
