"""Squares of training photographs: decoded once and kept in the working folder as a memory map, or when drawn."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from torch.utils.data import get_worker_info

from catalog import Photo, StorageError
from catalog.parallel import map_in_order
from models.pictures import PictureMaker, photo_key
from models.regions.wanted import NOTHING_KNOWN, Wanted
from models.training.job import write_json

_log = logging.getLogger(__name__)
_PIXELS, _INDEX = "pictures.npy", "pictures.json"


@dataclass(frozen=True)
class Shot:
    """A photograph and the words that help to find its core region."""

    photo: Photo
    wanted: Wanted = NOTHING_KNOWN
    views: int = 2
    """1: the original alone; 2: its core crop too."""

    @property
    def key(self) -> str:
        """The same key, the same squares, as far as both have them."""
        text = json.dumps([photo_key(self.photo), *astuple(self.wanted)], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class ShotSet:
    """Photographs of a training, and all else that decides their squares.

    Args:
        shots: Photographs with their words; of the same key the one with most views counts.
        side_px: Side of a square, pixels.
        digest: Of everything else that decides the squares: core regions, code.

    Attributes:
        shots: By key, in the order of rows.
        rows: First row of each key.
        digest: Of all this.
    """

    def __init__(self, shots: Iterable[Shot], side_px: int, digest: str) -> None:
        unique: dict[str, Shot] = {}
        for shot in shots:
            known = unique.setdefault(shot.key, shot)
            if shot.views > known.views:
                unique[shot.key] = shot
        self.shots = {key: unique[key] for key in sorted(unique)}
        starts = accumulate((shot.views for shot in self.shots.values()), initial=0)
        self.rows = dict(zip(self.shots, starts, strict=False))
        self.num_squares = sum(shot.views for shot in self.shots.values())
        self.side_px = side_px
        told = json.dumps([digest, self.shape, list(self.rows.items())])
        self.digest = hashlib.sha256(told.encode()).hexdigest()

    @property
    def shape(self) -> tuple[int, ...]:
        """(squares, side, side, 3)."""
        return self.num_squares, self.side_px, self.side_px, 3

    @property
    def num_bytes(self) -> int:
        """Of all squares."""
        return int(np.prod(self.shape, dtype=np.int64))

    def is_decoded(self, folder: Path) -> bool:
        """Whether the folder holds the very same squares."""
        return _digest_kept(folder / _INDEX) == self.digest


class PictureStore:
    """Squares by `Shot.key`; picklable, so that data workers open the map themselves.

    Attributes:
        rows: First row of each key in the map.
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
        first = self.rows[shot.key]
        return np.asarray(self._map[first : first + shot.views])

    def several(self, shots: Sequence[Shot]) -> list[np.ndarray]:
        """Squares of each."""
        return [self.squares(shot) for shot in shots]


class DrawnPictures:
    """Squares that are decoded whenever they are asked for, and kept nowhere; picklable, so that data workers decode.

    Args:
        maker: Makes squares, with the core regions of this run.
    """

    def __init__(self, maker: PictureMaker) -> None:
        self.maker = maker

    def squares(self, shot: Shot) -> np.ndarray:
        """(views, side, side, 3) uint8, the original first.

        Raises:
            ImageError: A photograph that ingestion accepted cannot be read any more.
        """
        return self.maker.squares(shot.photo, shot.wanted, shot.views)

    def several(self, shots: Sequence[Shot]) -> list[np.ndarray]:
        """Squares of each; in threads where no data worker asks, which is one of several already."""
        alone = get_worker_info() is None
        return list(map_in_order(self.squares, shots) if alone else map(self.squares, shots))


def fill_picture_store(
    folder: Path, wanted: ShotSet, maker: PictureMaker, progress: Callable[[int, int], None] | None = None
) -> PictureStore:
    """Decode, crop and fit every photograph, unless the folder holds the very same squares already.

    Args:
        folder: Working folder of the training.
        wanted: Photographs, each decoded once.
        maker: Makes squares, with the core regions of this run.
        progress: Called with (done, all).

    Raises:
        ImageError: A photograph that ingestion accepted cannot be read any more.
        StorageError: No space, or a read-only folder.
    """
    index = folder / _INDEX
    try:
        if wanted.is_decoded(folder):
            return PictureStore(folder, wanted.rows)
        index.unlink(missing_ok=True)
        _write(folder / _PIXELS, wanted.shape, list(wanted.shots.values()), maker, progress)
        # Only now: the pixels were flushed to the disk, so an index that can be read never speaks of others.
        write_json(index, {"digest": wanted.digest})
    except OSError as error:
        raise StorageError(
            "decoded pictures cannot be kept in the working folder",
            where=str(folder),
            got=str(error),
            allowed=f"{wanted.num_bytes / 2**20:.0f} MiB of writable space",
            fix="free space, move the working folder, or set train.decode: drawn, which keeps none",
        ) from None
    return PictureStore(folder, wanted.rows)


def replaced_bytes(folder: Path) -> int:
    """What squares of another training take in the folder; decoding gives it back."""
    try:
        return (folder / _PIXELS).stat().st_blocks * 512
    except OSError:
        return 0


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
        made = pool.map(lambda shot: maker.squares(shot.photo, shot.wanted, shot.views), shots)
        row = 0
        for number, one in enumerate(made, 1):
            squares[row : row + len(one)] = one
            row += len(one)
            if progress is not None:
                progress(number, len(shots))
    squares.flush()
