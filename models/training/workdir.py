"""The working folder of a training: one run at a time, and a checkpoint to go on from.

Files here are local and of this run's own making; a checkpoint holds tensors and plain values only and is read with
`weights_only=True`, which unpickles nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from catalog import ModelError, StorageError
from models.locks import HeldError, held

_LOCK, _CHECKPOINT = "lock", "checkpoint.pt"
CHECKPOINT_VERSION = 2


def random_state() -> dict[str, Any]:
    """State of torch's generators in this process, for a checkpoint."""
    in_use = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if in_use else None}


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on drawing where `random_state` was taken; on a GPU where there was none, or the reverse, as it stands."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process.

    Raises:
        StorageError: Another process works in the folder, or it cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder / _LOCK))
        except HeldError as error:
            raise StorageError(
                f"working folder is in use by pid {error}",
                where=str(folder),
                fix="wait for that run, stop it, or choose another working folder",
            ) from None
        except OSError as error:
            raise StorageError(
                "working folder cannot be written or locked",
                where=str(folder),
                got=str(error),
                fix="choose another working folder",
            ) from None
        yield


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint in one move: a kill in the middle leaves the former one.

    Raises:
        StorageError: No space, or a read-only folder.
    """
    partial = folder / (_CHECKPOINT + ".partial")
    try:
        with partial.open("wb") as stream:
            torch.save({"version": CHECKPOINT_VERSION, **state}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(folder / _CHECKPOINT)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            "checkpoint cannot be written",
            where=str(folder),
            got=str(error),
            fix="free space; the run goes on from the former checkpoint",
        ) from None


def load_checkpoint(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The checkpoint to go on from, or None.

    Raises:
        ModelError: It cannot be read, or another configuration or catalogue made it.
    """
    path = folder / _CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ModelError(
            "checkpoint cannot be read", where=str(path), got=str(error)[:200], fix="delete it to train from the start"
        ) from None
    if state.get("version") != CHECKPOINT_VERSION or state.get("fingerprint") != fingerprint:
        raise ModelError(
            "checkpoint belongs to another configuration, catalogue, version, or other weights",
            where=str(path),
            got=str(state.get("fingerprint"))[:12],
            allowed=fingerprint[:12],
            fix="choose another working folder, or delete this one",
        )
    return state
