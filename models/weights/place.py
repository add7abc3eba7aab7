"""How a weights folder comes under the root: filled in a temporary place, then renamed, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog import StorageError
from models.weights.root import weights_root

PARTIAL = ".partial"
STALE_S = 24 * 3600
"""Age after which the leavings of a killed process are swept away, seconds."""


@contextmanager
def new_folder(name: str, *, replace: bool = True) -> Iterator[Path]:
    """An empty folder to fill; at the end it becomes `name` under the root.

    Where the block raises, nothing of it stays, and what was there before stays.

    Args:
        name: Of the folder.
        replace: Let it take the place of a folder that is there; otherwise that is an error, and it stays.

    Raises:
        StorageError: The root cannot be written, or there is such a folder and it is not to be replaced.
    """
    place = weights_root() / name
    try:
        partial = _partial_folder(name)
        try:
            yield partial
            _open_to_readers(partial)
            _move(partial, place, replace)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            "weights cannot be written",
            where=str(place),
            got=str(error),
            fix="free space, or name another root in MOON_WEIGHTS",
        ) from None


def _partial_folder(name: str) -> Path:
    parent = weights_root() / PARTIAL
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        if time.time() - left.stat().st_mtime > STALE_S:
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))


def _open_to_readers(folder: Path) -> None:
    # mkdtemp and safetensors write for the owner alone; weights are for whoever may read the root.
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _move(partial: Path, place: Path, replace: bool) -> None:
    if replace:
        take_place(partial, place)
    else:
        # Over a folder that is not empty this fails: also over one that another process has just made.
        os.replace(partial, place)


def take_place(partial: Path, place: Path) -> None:
    """Let a filled folder take the place of another, if there is one; where that fails the other is there as before.

    Args:
        partial: On the file system of `place`; the other waits beside it meanwhile.
        place: Where it is to be.

    Raises:
        OSError: It cannot be moved. Could the other not be put back either, the text says where it lies.
    """
    if not place.exists():
        os.replace(partial, place)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{place.name}-old-", dir=partial.parent))
    aside = old / place.name
    try:
        os.replace(place, aside)
        try:
            os.replace(partial, place)
        except OSError:
            # Its own failure names both paths, and leaves the other where it waits: nothing is deleted then.
            os.replace(aside, place)
            raise
    except OSError:
        if not aside.exists():
            old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)
