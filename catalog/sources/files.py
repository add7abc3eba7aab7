"""Which files hold the rows of a data set: one file, or the shards in a folder."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from fsspec import AbstractFileSystem

from catalog.catalog import resolve_root
from catalog.errors import CatalogError
from catalog.fetched import MANIFEST
from catalog.sources.gathering import Placed, as_written
from catalog.sources.places import place_of
from catalog.sources.tables import FORMATS, LOOKED_AT_ROWS, columns_of, format_of, read_rows

HUB = "hub:"
"""Begins the path of a data set of the Hugging Face hub, which is read only when it lies on disk already."""

_NOT_ROWS = frozenset({"dataset_info.json", "dataset_dict.json", "state.json", "dataset_infos.json"})
"""What Hugging Face writes beside the rows."""
_CACHED = re.compile(r"cache-.*\.arrow")
"""What Hugging Face leaves in a saved folder of every map and filter that was run on it: the same rows again."""


@dataclass(frozen=True)
class DataFiles:
    """Files of rows below one folder."""

    fs: AbstractFileSystem
    base: str
    """The folder on `fs`."""
    root: str
    """The folder as an fsspec path."""
    written: str
    """The folder as a catalogue keeps it."""
    name: str
    names: tuple[str, ...]
    """Relative to the folder, sorted."""

    def columns(self, wanted: Collection[str] = (), max_rows: int | None = None) -> dict[str, bool]:
        """All columns of all files, and of each whether it holds bytes.

        Args:
            wanted: Looked for up to the last row of JSON lines, whose first rows may lack what later ones have.
            max_rows: Rows of a file that may be looked at for them.
        """
        found: dict[str, bool] = {}
        for name in self.names:
            found |= columns_of(self.fs, self.base, name, max_rows=LOOKED_AT_ROWS)
        for name in self.names:
            if not (lost := set(wanted) - found.keys()):
                break
            if format_of(name) in (".jsonl", ".json"):
                found |= columns_of(self.fs, self.base, name, lost, max_rows)
        return found

    def rows(self, without: frozenset[str] = frozenset()) -> Iterator[Placed]:
        """Every row of every file, one at a time."""
        for name in self.names:
            yield from read_rows(self.fs, self.base, name, without)


def find_files(path: str, patterns: Sequence[str] = ()) -> DataFiles:
    """The files of rows at `path`.

    Args:
        path: A file, a folder, an fsspec URL, or hub:OWNER/NAME.
        patterns: Names relative to the folder, `*` and `**` allowed; empty takes every file of rows below it.

    Raises:
        CatalogError: Nothing there, no file of rows, a pattern that finds none, or files of several formats.
    """
    path = _on_disk(path) if path.startswith(HUB) else path
    root = resolve_root(path)
    fs, base = place_of(root)
    if not fs.exists(base):
        raise CatalogError(
            "catalogue path does not exist",
            where=root,
            got=f"catalog.path: {path}",
            allowed=f"a file or folder of {', '.join(FORMATS)}",
            fix="correct catalog.path; a path below data/ follows the variable MOON_DATA",
        )
    name = posixpath.basename(base) or "catalog"
    if fs.isfile(base):
        if format_of(name) is None:
            _refuse_format(root, name)
        parts = (posixpath.dirname(base), os.path.dirname(root), posixpath.dirname(as_written(path)) or ".")
        return DataFiles(fs, *parts, name.partition(".")[0] or name, (name,))
    names = _below(fs, base, root, patterns)
    return DataFiles(fs, base, root, as_written(path), name, names)


def _below(fs: AbstractFileSystem, base: str, root: str, patterns: Sequence[str]) -> tuple[str, ...]:
    if patterns:
        found: list[str] = []
        for pattern in patterns:
            hits = [name for name in fs.glob(f"{base}/{pattern}") if format_of(name)]
            if not hits:
                raise CatalogError(
                    "no file of rows of this name", where=root, got=pattern, fix="correct `files` of the column map"
                )
            found += hits
        return tuple(sorted({posixpath.relpath(name, base) for name in found}))
    names = (posixpath.relpath(name, base) for name in fs.find(base))
    rows = sorted(name for name in names if format_of(name) and _may_be_rows(name))
    if not rows:
        _refuse_format(root, "no such file below it")
    formats = {format_of(name) for name in rows} - {".json"} or {".json"}
    if len(formats) > 1:
        raise CatalogError(
            "the folder has files of several formats; which ones count would be a guess",
            where=root,
            got=", ".join(rows[:6]) + (" and more" if len(rows) > 6 else ""),
            allowed="files of one format",
            fix="name one file as catalog.path, or `files` in a column map",
        )
    # Beside rows of another format, JSON files are what their makers say about them.
    return tuple(name for name in rows if format_of(name) in formats)


def _may_be_rows(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith((".", "_")) for part in parts)
    return not (hidden or parts[-1] in _NOT_ROWS or parts[-1] == MANIFEST or _CACHED.fullmatch(parts[-1]))


def _refuse_format(root: str, got: str) -> None:
    raise CatalogError(
        "no file of rows",
        where=root,
        got=got,
        allowed=f"{', '.join(FORMATS)}; text formats also with .gz",
        fix="name the file or folder that holds the rows",
    )


def _on_disk(path: str) -> str:
    """Folder of a data set of the hub, as an earlier download left it; the network is never asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name = path.removeprefix(HUB)
    try:
        return snapshot_download(name, repo_type="dataset", local_files_only=True)
    except LocalEntryNotFoundError:
        problem = "the data set is not on this disk, and reading a catalogue downloads nothing"
    except HFValidationError as error:
        problem = f"not a name of the hub: {error}"
    raise CatalogError(
        problem, where=f"catalog.path: {path}", fix=f"download it first: hf download {name} --repo-type dataset"
    )
