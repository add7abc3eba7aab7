"""Rows out of JSON lines, Parquet, Arrow or CSV, one at a time, each with the place it came from."""

from __future__ import annotations

import codecs
import json
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from catalog.errors import CatalogError
from catalog.sources.class_labels import label_names, named
from catalog.sources.delimited import csv_header, csv_rows

RawRow = dict[str, Any]

FORMATS = (".jsonl", ".json", ".parquet", ".arrow", ".csv", ".tsv")
"""What a file of rows may be; the text formats also with .gz behind."""
LOOKED_AT_ROWS = 1000
"""Rows of JSON lines that are looked at for their columns: such a file has no header."""

_BATCH_ROWS = 1024
_BATCH_ROWS_BYTES = 64
"""Where rows hold pictures, so that a batch of them stays small."""
_ARROW_FILE = b"ARROW1"


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


def format_of(name: str) -> str | None:
    """The format that a file's name tells, or None where it is no file of rows."""
    plain = name.lower().removesuffix(".gz")
    found = next((suffix for suffix in FORMATS if plain.endswith(suffix)), None)
    packed = plain != name.lower()
    return None if packed and found in (".parquet", ".arrow") else found


def read_rows(
    fs: AbstractFileSystem, base: str, name: str, without: Collection[str] = ()
) -> Iterator[tuple[str, RawRow | str]]:
    """Yield `(file:line, row)`, or `(file:line, reason)` for a line that is no row.

    Args:
        fs: File system of the folder.
        base: The folder on it.
        name: A file of one of FORMATS.
        without: Columns that are not wanted; Parquet and Arrow do not turn them into values at all.

    Raises:
        CatalogError: The file as a whole cannot be read.
    """
    try:
        with fs.open(f"{base}/{name}", "rb", compression="infer") as stream:
            match format_of(name):
                case ".parquet":
                    yield from _batch_rows(_parquet_batches(stream, without), name)
                case ".arrow":
                    yield from _batch_rows(_arrow_batches(stream, without), name)
                case ".csv" | ".tsv":
                    yield from csv_rows(stream, name)
                case _:
                    yield from _json_lines(stream, name)
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _unreadable(base, name, error) from None


def columns_of(
    fs: AbstractFileSystem, base: str, name: str, wanted: Collection[str] = (), max_rows: int | None = None
) -> dict[str, bool]:
    """The columns of a file, and of each whether it holds bytes.

    Args:
        fs: File system of the folder.
        base: The folder on it.
        name: A file of one of FORMATS.
        wanted: JSON lines have no header: of them the first rows are looked at, and further ones until all of these
            have come.
        max_rows: Rows of JSON lines that are looked at in all; None: to the end, while one is wanted.

    Raises:
        CatalogError: The file cannot be read.
    """
    try:
        if (kind := format_of(name)) in (".parquet", ".arrow"):
            with fs.open(f"{base}/{name}", "rb") as stream:
                schema = pq.read_schema(stream) if kind == ".parquet" else _arrow_reader(stream).schema
            return {field.name: _holds_bytes(field.type) for field in schema}
        if kind in (".csv", ".tsv"):
            with fs.open(f"{base}/{name}", "rb", compression="infer") as stream:
                return dict.fromkeys(csv_header(stream, name), False)
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _unreadable(base, name, error) from None
    found: dict[str, bool] = {}
    for number, (_, row) in enumerate(islice(read_rows(fs, base, name), max_rows), start=1):
        found |= dict.fromkeys(row if isinstance(row, dict) else (), False)
        if number >= LOOKED_AT_ROWS and found.keys() >= set(wanted):
            break
    return found


def _unreadable(base: str, name: str, error: Exception) -> CatalogError:
    return CatalogError(
        f"{name} cannot be read",
        where=f"{base}/{name}",
        got=str(error) or type(error).__name__,
        fix="check that the file is whole and that you may read it",
    )


def _json_lines(stream: Any, name: str) -> Iterator[tuple[str, RawRow | str]]:
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if number == 1 and line.lstrip()[:1] == b"[":
            raise CatalogError(
                f"{name} is one JSON array, not JSON lines",
                where=name,
                got=f"a first line that begins with {line[:20].decode('utf-8', 'replace')!r}",
                allowed="one JSON object a line, so that rows can be read one by one",
                fix=f"write it as lines: jq -c '.[]' {name} > rows.jsonl",
            )
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


def _parquet_batches(stream: Any, without: Collection[str]) -> Iterator[pa.RecordBatch]:
    table = pq.ParquetFile(stream)
    kept = [field for field in table.schema_arrow if field.name not in without]
    yield from table.iter_batches(batch_size=_batch_rows_of(kept), columns=[field.name for field in kept])


def _arrow_batches(stream: Any, without: Collection[str]) -> Iterator[pa.RecordBatch]:
    reader = _arrow_reader(stream)
    kept = [field for field in reader.schema if field.name not in without]
    if isinstance(reader, pa.RecordBatchFileReader):
        batches: Iterator[pa.RecordBatch] = (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        batches = iter(reader)
    size = _batch_rows_of(kept)
    for batch in batches:
        chosen = batch.select([field.name for field in kept])
        yield from (chosen.slice(start, size) for start in range(0, chosen.num_rows, size))


def _arrow_reader(stream: Any) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    """Arrow has a file format and a stream format under one suffix; Hugging Face writes the stream."""
    head = stream.read(len(_ARROW_FILE))
    stream.seek(0)
    return pa.ipc.open_file(stream) if head == _ARROW_FILE else pa.ipc.open_stream(stream)


def _batch_rows_of(fields: list[pa.Field]) -> int:
    return _BATCH_ROWS_BYTES if any(_holds_bytes(field.type) for field in fields) else _BATCH_ROWS


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields))


def _batch_rows(batches: Iterator[pa.RecordBatch], name: str) -> Iterator[tuple[str, RawRow | str]]:
    number = 0
    for batch in batches:
        labels = label_names(batch.schema)
        for row in batch.to_pylist(maps_as_pydicts="lossy"):
            number += 1
            row |= {column: named(row[column], names) for column, names in labels.items()}
            yield f"{name}:{number}", row
