"""What became of every URL: one JSON line each, written as it happens, one line a URL once a run has ended."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from catalog.errors import CatalogError, StorageError
from catalog.fetching.faults import Status, is_passing

MANIFEST = "manifest.jsonl"
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the manifest."""

    url: str
    path: str | None
    """Below the folder; None without a picture."""
    sha256: str | None
    """Of the file's bytes."""
    num_bytes: int | None
    width: int | None
    """Pixels of the upright picture, as `catalog.images.decode_image` gives it."""
    height: int | None
    status: str
    reason: str
    """A short word for counting; empty when ok."""
    detail: str
    """The same for reading."""
    attempts: int
    """Requests of the run that wrote the row, redirects not counted; 0 for a file found in place."""
    http_status: int | None
    """Of the last answer; None where none came."""

    @property
    def passing(self) -> bool:
        """Whether a later run tries again unasked."""
        return self.status == Status.FAILED and is_passing(self.reason, self.http_status)


_COLUMNS = tuple(field.name for field in fields(Row))


class Manifest:
    """The manifest of a folder.

    Args:
        folder: Holds it, and the pictures.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / MANIFEST
        self._lock = threading.Lock()
        self._stream: IO[bytes] | None = None

    def rows(self) -> Iterator[Row]:
        """Every line in order, a URL's later lines after its earlier ones; a last line cut by a kill is left out.

        Raises:
            CatalogError: A line is no row; the file was not written by this command.
        """
        for _, row in self._lines():
            yield row

    def latest(self) -> dict[str, Row]:
        """The last row of each URL."""
        return {row.url: row for row in self.rows()}

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Open for `append`; a torn last line is cut off first, and at the end each URL keeps its last line alone."""
        self._cut_torn_line()
        try:
            with self.path.open("ab") as self._stream:
                yield
        finally:
            self._stream = None
            self.compact()

    def append(self, row: Row) -> None:
        """Write a line and hand it to the operating system at once."""
        # A lone surrogate, which UTF-8 lacks, stays what it is in JSON: backslash, u and four digits.
        line = json.dumps(asdict(row), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            assert self._stream is not None
            self._stream.write(line)
            self._stream.flush()

    def compact(self) -> None:
        """Keep the last line of each URL; the file is replaced as a whole."""
        last: dict[str, int] = {}
        num_lines = 0
        for number, row in self._lines():
            last[row.url] = number
            num_lines = number
        if len(last) == num_lines:
            return
        beside = self.path.with_name(f"{MANIFEST}.partial")
        wanted = set(last.values())
        with self.path.open("rb") as stream, beside.open("wb") as out:
            out.writelines(line for number, line in enumerate(stream, start=1) if number in wanted)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, self.path)

    def _cut_torn_line(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("r+b") as stream:
            stream.truncate(_end_of_whole_lines(stream))

    def _lines(self) -> Iterator[tuple[int, Row]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    return
                yield number, _row_of(line, f"{self.path}:{number}")


def read_manifest(folder: str | Path) -> dict[str, Row]:
    """The last row of each URL that was fetched into a folder; empty where nothing was.

    Raises:
        CatalogError: The manifest was not written by `moon data fetch-images`.
    """
    return Manifest(Path(folder)).latest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second run out of a folder.

    Raises:
        StorageError: Another run is at work in it.
    """
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                "another run is fetching into this folder",
                where=str(folder),
                fix="wait for it or end it; what it has fetched stays",
            ) from None
        yield


def _row_of(line: bytes, where: str) -> Row:
    try:
        found: Any = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not set(_COLUMNS) <= found.keys() or not isinstance(found["url"], str):
        raise CatalogError(
            "the manifest holds a line that is no row of it",
            where=where,
            got=line[:80].decode("utf-8", "replace").rstrip(),
            allowed=f"one JSON object with {', '.join(_COLUMNS)}",
            fix="fetch into another folder, or take the line out",
        )
    return Row(**{name: found[name] for name in _COLUMNS})


def _end_of_whole_lines(stream: IO[bytes]) -> int:
    """Position after the last line break; 0 where there is none."""
    end = stream.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _PIECE_BYTES)
        stream.seek(start)
        at = stream.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
