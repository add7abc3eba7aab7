"""Cells that name or hold a photograph: a path, a URL that was fetched, or the bytes themselves."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any

from catalog.catalog import EMBEDDED_ROOT, resolve_root
from catalog.errors import CatalogError, StorageError
from catalog.fetched import MANIFEST, Status, manifest_rows
from catalog.images import sha256_hex
from catalog.sources.files import DataFiles
from catalog.sources.gathering import as_written
from catalog.sources.notes import RowError
from catalog.sources.places import place_of
from catalog.sources.values import image_reference

_URL = re.compile(r"(?:https?:)?//\S.*", re.IGNORECASE)
"""Spaces included: published addresses hold some, and hosts are asked for them percent-encoded."""

_MAGIC = (
    (b"\xff\xd8", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
)


@dataclass(frozen=True)
class Shots:
    """What cells named: references below the catalogue's root, and URLs that are not on disk."""

    refs: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


def is_url(cell: Any) -> bool:
    """Whether a cell is the address of a picture on the web; `//host/path` is one, as shops write it."""
    return isinstance(cell, str) and _URL.fullmatch(cell.strip()) is not None


def full_url(cell: str) -> str:
    """The address as it is asked for: `//host/path` over https."""
    cell = cell.strip()
    return f"https:{cell}" if cell.startswith("//") else cell


class PictureFinder:
    """Turns cells into image references.

    Args:
        files: Paths are relative to their folder, where `image_root` is not given.
        image_root: Folder of the photographs: of fetched URLs with a manifest, or what paths are relative to.
        work_dir: Bytes that rows hold are written below it once, named by their digest.

    Raises:
        CatalogError: `image_root` is not there, or its manifest is damaged.
    """

    def __init__(self, files: DataFiles, image_root: str | None, work_dir: str) -> None:
        self._root = resolve_root(image_root) if image_root else files.root
        self._written = as_written(image_root) if image_root else files.written
        self._work_dir = os.path.join(work_dir, "pictures")
        self._local: dict[str, None] = {}
        self._embedded: set[str] = set()
        self._fetched = _fetched(self._root) if image_root else {}
        self._missing: dict[str, None] = {}

    def shots(self, cells: list[Any]) -> Shots:
        """References and missing URLs of all pictures in `cells`, each once, in order.

        Raises:
            RowError: A cell that is no picture, or names one outside the folder of the photographs.
        """
        refs: dict[str, None] = {}
        urls: dict[str, None] = {}
        for cell in cells:
            if isinstance(cell, dict):
                cell = cell.get("bytes") or cell.get("path") or cell.get("url")
            if cell is None or cell == "" or cell == b"":
                continue
            if isinstance(cell, bytes):
                refs[self._kept(cell)] = None
            elif not isinstance(cell, str):
                raise RowError(f"a picture must be a path, a URL or bytes, got {type(cell).__name__}")
            elif not is_url(cell):
                # Before anything is done with it: what leaves the folder would be copied, and written, outside of it.
                refs[image_reference(cell, "images")] = self._local[cell] = None
            elif (ref := self._fetched.get(full_url(cell)) or self._fetched.get(cell.strip())) is not None:
                refs[image_reference(ref, "images")] = self._local[ref] = None
            else:
                urls[full_url(cell)] = self._missing[full_url(cell)] = None
        return Shots(tuple(refs), tuple(urls))

    @property
    def missing(self) -> tuple[str, ...]:
        """Every URL that was looked up and is not on disk, once, in order."""
        return tuple(self._missing)

    def place(self) -> tuple[str, str]:
        """Root of all references, and how a catalogue keeps it.

        Pictures that rows hold lie in the working folder; where others lie elsewhere these are copied beside them,
        since a catalogue has one root.

        Raises:
            StorageError: The copies cannot be written.
        """
        if not self._embedded:
            return self._root, self._written
        fs, base = place_of(self._root)
        for ref in self._local:
            target = os.path.join(self._work_dir, ref)
            if os.path.exists(target) or not fs.isfile(f"{base}/{ref}"):
                continue  # ingestion tells a picture that is missing
            with fs.open(f"{base}/{ref}", "rb") as stream:
                _write(target, stream)
        return self._work_dir, EMBEDDED_ROOT

    def _kept(self, data: bytes) -> str:
        digest = sha256_hex(data)
        ref = f"images/{digest[:2]}/{digest}{_suffix(data)}"
        if ref not in self._embedded:
            self._embedded.add(ref)
            target = os.path.join(self._work_dir, ref)
            if not os.path.exists(target):
                _write(target, data)
        return ref


def _suffix(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), ".img")


def _write(target: str, data: Any) -> None:
    """Write bytes or a stream to `target`, which appears whole or not at all."""
    folder = os.path.dirname(target)
    aside = None
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-", delete=False) as stream:
            aside = stream.name
            if isinstance(data, bytes):
                stream.write(data)
            else:
                shutil.copyfileobj(data, stream)
        os.replace(aside, target)
    except OSError as error:
        if aside is not None and os.path.exists(aside):
            os.remove(aside)
        raise StorageError(
            "a photograph cannot be written",
            where=error.filename or target,
            got=error.strerror or str(error),
            fix="make room or choose another working folder",
        ) from None


def _fetched(root: str) -> dict[str, str]:
    """URL to path below `root`, of every photograph that the manifest says is there."""
    fs, base = place_of(root)
    if not fs.isdir(base):
        raise CatalogError(
            "folder of the photographs does not exist",
            where=root,
            got="catalog.image_root",
            fix="correct catalog.image_root, or make it: moon data fetch-images",
        )
    name = f"{base}/{MANIFEST}"
    if not fs.exists(name):
        return {}
    with fs.open(name, "rb") as stream:
        last = {row.url: row for _, row in manifest_rows(stream, f"{root}/{MANIFEST}")}
    return {url: row.path for url, row in last.items() if row.status == Status.OK and row.path}
