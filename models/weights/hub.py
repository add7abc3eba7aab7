"""Weights on the Hugging Face hub: a snapshot at one commit, every file checked against the digest listed there."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from catalog import ModelError
from models.weights.again import hub_command
from models.weights.known import HubSource
from models.weights.manifest import file_sha256

WANTED_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "LICENSE*", "README.md")
"""No pickles and no code."""


def download_snapshot(source: HubSource, into: Path) -> None:
    """Bring a snapshot into `into`; what an interrupted try has left there is used.

    Raises:
        ModelError: The hub is switched off, not reached, refuses, or sends other bytes than it promised.
    """
    import httpx
    from huggingface_hub import HfApi, snapshot_download

    try:
        snapshot_download(
            source.hub_id, revision=source.revision, local_dir=into, allow_patterns=list(WANTED_FILES), max_workers=4
        )
        info = HfApi().model_info(source.hub_id, revision=source.revision, files_metadata=True)
    except (OSError, ValueError, httpx.HTTPError) as error:
        said = str(error).strip().splitlines()
        raise ModelError(
            "weights cannot be fetched from the hub",
            where=f"{source.hub_id} at {source.revision}",
            got=f"{type(error).__name__}: {said[0] if said else ''}",
            allowed="a network that reaches the hub, HF_HUB_OFFLINE not set, and the model's terms accepted there",
            fix="try again, it goes on where it stopped; or bring a snapshot from another machine: "
            + hub_command(source.name, source.hub_id, source.revision, "--from FOLDER"),
        ) from None
    # Its own notes on what it has downloaded: no part of the snapshot, and needed until the last file is right.
    notes = into / ".cache"
    listed = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    arrived = [path for path in sorted(into.rglob("*")) if path.is_file() and notes not in path.parents]
    names = [path.relative_to(into).as_posix() for path in arrived]
    other = [name for name in names if not _is_as_listed(into / name, listed.get(name))]
    if other:
        for name in other:
            (into / name).unlink()
        raise ModelError(
            "files of the hub did not arrive whole",
            where=f"{source.hub_id} at {source.revision}",
            got=", ".join(other),
            fix=f"{hub_command(source.name, source.hub_id, source.revision)} again: it fetches these alone",
        )
    shutil.rmtree(notes, ignore_errors=True)


def git_blob_id(path: Path) -> str:
    """The id under which git keeps a file's content: SHA-1 over `blob`, its size in bytes, a zero byte, the content.

    Source: Pro Git, 10.2 "Git Objects".
    """
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _is_as_listed(path: Path, sibling: Any) -> bool:
    # A large file lies in LFS: git's own id is then that of a note which points at it. One not listed is not known.
    if sibling is None:
        return False
    if sibling.lfs is not None:
        return bool(file_sha256(path) == sibling.lfs.sha256)
    return bool(git_blob_id(path) == sibling.blob_id)
