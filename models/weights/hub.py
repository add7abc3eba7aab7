"""Weights on the Hugging Face hub: a snapshot at one commit, every large file checked against the hub's digest."""

from __future__ import annotations

import shutil
from pathlib import Path

from catalog import ModelError
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
            fix=f"try again, it goes on where it stopped; or bring a snapshot from another machine: "
            f"moon weights fetch {source.name} --from FOLDER",
        ) from None
    promised = {
        sibling.rfilename: sibling.lfs.sha256
        for sibling in info.siblings or ()
        if sibling.lfs is not None and (into / sibling.rfilename).is_file()
    }
    other = [name for name, digest in promised.items() if file_sha256(into / name) != digest]
    if other:
        for name in other:
            (into / name).unlink()
        raise ModelError(
            "files of the hub did not arrive whole",
            where=f"{source.hub_id} at {source.revision}",
            got=", ".join(other),
            fix=f"moon weights fetch {source.name} again: it fetches these alone",
        )
    shutil.rmtree(into / ".cache", ignore_errors=True)
