"""The store that keeps what steps return: its marks, by which ZenML serves nothing that is gone.

ZenML remembers what it has run in a database of the user, and serves it without a look whether the files are there. A
folder that was emptied, or a project cloned anew into the same place, would be served results that no longer exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from zenml.artifact_stores import BaseArtifactStore
from zenml.client import Client

from catalog import MoonError, StorageError

MARK_FILE = "mark.txt"
"""Beside the results of a step, and under no leading dot: whoever empties the folder takes the mark as well."""


def store_mark(step: str) -> str:
    """Random, and of this very folder of this step's results; written on first use. Empty where the store is remote.

    Args:
        step: Its name, which is that of its folder in the store.

    Raises:
        StorageError: The folder cannot be written.
    """
    place = Client().active_stack.artifact_store.path
    if not is_local(place):
        return ""
    file = Path(place) / step / MARK_FILE
    try:
        if mark := _read(file):
            return mark
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{uuid4().hex}.partial")
        partial.write_text(uuid4().hex, encoding="utf-8")
        # Whole or not at all; of two at once the later stands, and the earlier at worst does its step once more.
        os.replace(partial, file)
        return _read(file)
    except OSError as error:
        raise StorageError(
            "the folder of artifacts cannot be written",
            where=str(file),
            got=str(error),
            fix="free some space, or see to its permissions",
        ) from None


def check_store(steps: Iterable[str]) -> None:
    """Mark the folders of all steps, so that a store that cannot be written is refused before anything runs.

    Raises:
        StorageError: As `store_mark`.
    """
    for step in steps:
        store_mark(step)


@contextmanager
def remembered(store: BaseArtifactStore, uri: str) -> Iterator[None]:
    """Reads a result, and says what to do where its files are gone or damaged: ZenML would serve it again and again.

    Args:
        store: That keeps it.
        uri: Folder of the result.

    Raises:
        StorageError: What is read inside raises that a file is missing, damaged or of another schema.
    """
    try:
        yield
    except (MoonError, OSError, ValueError, KeyError) as error:
        fix = "run once more with `enable_cache: false` in the recipe"
        if is_local(store.path) and Path(uri).is_relative_to(store.path):
            folder = Path(store.path, Path(uri).relative_to(store.path).parts[0])
            fix = f"delete {folder} and run again: what this step made is then made anew"
        raise StorageError(
            "a result of an earlier run is remembered, but cannot be read any more",
            where=uri,
            got=error.problem if isinstance(error, MoonError) else str(error),
            fix=fix,
        ) from error


def is_local(uri: str) -> bool:
    """Whether files lie in a folder of this machine."""
    return "://" not in uri and os.path.isabs(uri)


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""
