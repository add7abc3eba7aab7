"""Squares of all training photographs, decoded once and kept in the working folder as a memory map."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catalog import Photo, StorageError
from models.pictures import PictureMaker, photo_key
from models.training.job import write_json

_log = logging.getLogger(__name__)
_PIXELS, _INDEX = "pictures.npy", "pictures.json"


@dataclass(frozen=True)
class Shot:
    """A photograph and the words that help to find its core region."""

    photo: Photo
    title: str | None = None
    category: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same key, the same squares."""
        text = json.dumps([photo_key(self.photo), self.title, self.category], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class PictureStore:
    """Squares by `Shot.key`; picklable, so that data workers open the map themselves.

    Attributes:
        rows: Row of each key in the map.
    """

    def __init__(self, folder: Path, rows: dict[str, int]) -> None:
        self.folder, self.rows = folder, rows
        self._map: np.ndarray | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "rows": self.rows, "_map": None}

    def squares(self, shot: Shot) -> np.ndarray:
        """(views, side, side, 3) uint8, the original first."""
        if self._map is None:
            self._map = np.load(self.folder / _PIXELS, mmap_mode="r")
        return np.asarray(self._map[self.rows[shot.key]])


def fill_picture_store(
    folder: Path,
    shots: Sequence[Shot],
    maker: PictureMaker,
    num_views: int,
    digest: str,
    progress: Callable[[int, int], None] | None = None,
) -> PictureStore:
    """Decode, crop and fit every photograph, unless the folder holds the very same squares already.

    Args:
        folder: Working folder of the training.
        shots: Photographs with their words; duplicates are decoded once.
        maker: Makes squares, with the core regions of this run.
        num_views: Squares a photograph.
        digest: Of everything else that decides the squares: core regions, side, code.
        progress: Called with (done, all).

    Raises:
        ImageError: A photograph that ingestion accepted cannot be read any more.
        StorageError: No space, or a read-only folder.
    """
    unique = {shot.key: shot for shot in shots}
    rows = {key: row for row, key in enumerate(sorted(unique))}
    shape = (len(rows), num_views, maker.side_px, maker.side_px, 3)
    wanted = hashlib.sha256(json.dumps([digest, shape, sorted(rows)]).encode()).hexdigest()
    index = folder / _INDEX
    try:
        if _digest_kept(index) == wanted:
            return PictureStore(folder, rows)
        index.unlink(missing_ok=True)
        _write(folder / _PIXELS, shape, [unique[key] for key in rows], maker, progress)
        # Only now: the pixels were flushed to the disk, so an index that can be read never speaks of others.
        write_json(index, {"digest": wanted})
    except OSError as error:
        raise StorageError(
            "decoded pictures cannot be kept in the working folder",
            where=str(folder),
            got=str(error),
            allowed=f"{np.prod(shape, dtype=np.int64) / 2**20:.0f} MiB of writable space",
            fix="free space, or move the working folder",
        ) from None
    return PictureStore(folder, rows)


def _digest_kept(index: Path) -> str:
    """Of the squares that are there; empty where none are, or a machine went down while the index was written."""
    try:
        told = json.loads(index.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    return str(told.get("digest", "")) if isinstance(told, dict) else ""


def _write(
    path: Path,
    shape: tuple[int, ...],
    shots: Sequence[Shot],
    maker: PictureMaker,
    progress: Callable[[int, int], None] | None,
) -> None:
    squares = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    # Pillow lets go of the interpreter while it decodes, so threads are enough.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        made = pool.map(lambda shot: maker.squares(shot.photo, shot.title, shot.category), shots)
        for row, one in enumerate(made):
            squares[row] = one
            if progress is not None:
                progress(row + 1, len(shots))
    squares.flush()
