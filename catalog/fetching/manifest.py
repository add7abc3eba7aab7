"""What became of every URL: one JSON line each, written as it happens, one line a URL once a run has ended."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from catalog.errors import StorageError
from catalog.fetched import MANIFEST, Row, manifest_rows

_PIECE_BYTES = 1 << 16


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
            yield from manifest_rows(stream, str(self.path))


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
