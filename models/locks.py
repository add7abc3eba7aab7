"""A file that one process holds at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HeldError(Exception):
    """Another process holds the file; the text is its pid, or `unknown`."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file, made with its folder where it is not there, until the block ends.

    The kernel lets go of the lock when the process dies, however it dies: one left behind by a killed process is none.

    Raises:
        HeldError: Another process holds it.
        OSError: It cannot be written, or its file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            stream.seek(0)
            raise HeldError(stream.read().strip() or "unknown") from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
