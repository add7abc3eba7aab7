"""Which squares of a training are one picture: a digest of the pixels of each, kept in the working folder.

Features of a frozen tower are kept under it: many squares are the same, as a photograph's original with and without
its title is, and trainings share what the tower saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from catalog import StorageError
from catalog.parallel import map_in_order
from models.training.job import write_json
from models.training.picture_features import picture_key
from models.training.picture_store import Shot, ShotSet
from models.training.slots import Squares

_FILE = "contents.json"


def kept_contents(folder: Path, wanted: ShotSet) -> dict[str, str] | None:
    """Digest of each square by `picture_key`, as found before; None where that was for other squares, or never.

    Args:
        folder: Working folder of the training.
        wanted: Its photographs.
    """
    try:
        told = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(told, dict) or told.get("digest") != wanted.digest:
        return None
    return _by_key(wanted, told.get("contents"))


def find_contents(
    folder: Path, wanted: ShotSet, squares: Squares, progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """Look at every square, and keep what was found.

    Args:
        folder: Working folder of the training.
        wanted: Its photographs.
        squares: Asked once a photograph, in threads.
        progress: Called with (done, all).

    Raises:
        ImageError: A photograph that is decoded now cannot be read any more.
        StorageError: No space, or a read-only folder.
    """

    def look(shot: Shot) -> list[str]:
        return [hashlib.sha256(square.tobytes()).hexdigest() for square in squares.squares(shot)]

    found: list[list[str]] = []
    for row in map_in_order(look, wanted.shots.values()):
        found.append(row)
        if progress is not None:
            progress(len(found), len(wanted.shots))
    try:
        write_json(folder / _FILE, {"digest": wanted.digest, "contents": found})
    except OSError as error:
        raise StorageError(
            "what the pictures hold cannot be kept in the working folder",
            where=str(folder),
            got=str(error),
            fix="free space, or move the working folder",
        ) from None
    made = _by_key(wanted, found)
    assert made is not None
    return made


def _by_key(wanted: ShotSet, rows: Sequence[Sequence[str]] | Any) -> dict[str, str] | None:
    try:
        texts = list(chain.from_iterable(rows))
    except TypeError:
        return None
    keys = [picture_key(key, view) for key, shot in wanted.shots.items() for view in range(shot.views)]
    return dict(zip(keys, texts, strict=True)) if len(texts) == len(keys) else None
