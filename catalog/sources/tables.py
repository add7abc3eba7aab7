"""Rows out of JSON lines or Parquet, one at a time, each with the place it came from."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from catalog.errors import CatalogError

RawRow = dict[str, Any]

_BATCH_ROWS = 1024


def find_table(fs: AbstractFileSystem, base: str, stem: str) -> str | None:
    """Name of the table `stem` in the folder `base`, or None where there is none.

    Raises:
        CatalogError: Both forms are there; which one counts would be a guess.
    """
    names = [f"{stem}.jsonl", f"{stem}.parquet"]
    found = [name for name in names if fs.exists(f"{base}/{name}")]
    if len(found) > 1:
        raise CatalogError(
            f"the catalogue has its {stem} twice",
            where=base,
            got=" and ".join(found),
            allowed="one of them",
            fix="remove or rename the one that is not meant",
        )
    return found[0] if found else None


def read_rows(fs: AbstractFileSystem, base: str, name: str) -> Iterator[tuple[str, RawRow | str]]:
    """Yield `(file:line, row)`, or `(file:line, reason)` for a line that is no row.

    Args:
        fs: File system of the folder.
        base: The folder on it.
        name: `*.jsonl` or `*.parquet`.

    Raises:
        CatalogError: The file as a whole cannot be read.
    """
    try:
        with fs.open(f"{base}/{name}", "rb") as stream:
            yield from _json_lines(stream, name) if name.endswith(".jsonl") else _parquet_rows(stream, name)
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(
            f"{name} cannot be read",
            where=f"{base}/{name}",
            got=str(error) or type(error).__name__,
            fix="check that the file is whole and that you may read it",
        ) from None


def _json_lines(stream: Any, name: str) -> Iterator[tuple[str, RawRow | str]]:
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield f"{name}:{number}", _parse(line)


def _parse(line: bytes) -> RawRow | str:
    try:
        # NaN is how pandas writes a missing value.
        row = json.loads(line.decode("utf-8"), parse_constant=lambda text: None if text == "NaN" else float(text))
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start}; save the file as UTF-8"
    except json.JSONDecodeError as error:
        return f"broken JSON: {error.msg} at column {error.colno}; each line must hold one whole JSON object"
    except RecursionError:
        return "broken JSON: nested too deeply"
    except ValueError:
        return "a whole number of thousands of digits; write it as text"
    if not isinstance(row, dict):
        return f"a JSON {type(row).__name__}, not an object; each line must hold one whole JSON object"
    return row


def _parquet_rows(stream: Any, name: str) -> Iterator[tuple[str, RawRow | str]]:
    number = 0
    for batch in pq.ParquetFile(stream).iter_batches(batch_size=_BATCH_ROWS):
        for row in batch.to_pylist(maps_as_pydicts="lossy"):
            number += 1
            yield f"{name}:{number}", row
