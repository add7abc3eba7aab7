"""Working folders: where a run keeps what it needs to go on after a kill."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog import StorageError

WORK_VARIABLE = "MOON_WORK"
DEFAULT_WORK_ROOT = ".moon/work"


def work_root() -> Path:
    """The folder below which all working folders lie; the variable MOON_WORK moves it."""
    return Path(os.environ.get(WORK_VARIABLE) or DEFAULT_WORK_ROOT).absolute()


def work_key(*parts: str) -> str:
    """Sixteen hexadecimal characters that stand for configuration, data and code."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode()).digest())
    return total.hexdigest()[:16]


@contextmanager
def work_folder(key: str) -> Iterator[Path]:
    """The working folder of `key`, held for this process alone until the block ends.

    Raises:
        StorageError: The folder cannot be made, or another run is working in it.
    """
    folder = work_root() / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StorageError(
            "working folder cannot be written",
            where=str(folder),
            got=str(error),
            fix=f"free some space, or set {WORK_VARIABLE} to a folder that can be written",
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StorageError(
                "another run is working in the same folder",
                where=str(folder),
                got=f"held by process {lock.read().strip() or 'unknown'}",
                fix=f"wait for that run to end, or set {WORK_VARIABLE} to another folder",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        # The lock goes with the process, however it dies: a killed run never blocks the next one.
        yield folder
