"""The way to weights once more, as a command that works as it is printed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.weights.known import BY_NAME, HUB_ID, HubSource
from models.weights.root import weights_root

COPY_AGAIN = "copy it once more from where it came from, or name another folder"


def hub_command(name: str, hub_id: str, revision: str | None, *options: str) -> str:
    """The command that fetches weights of the hub.

    Args:
        name: Of the folder under the root; one of `moon weights list` is fetched by it.
        hub_id: Names the weights where MOON does not.
        revision: Commit; `COMMIT` stands for one that only the user can say.
        options: Put at the end.
    """
    known = BY_NAME.get(name)
    # What MOON pins needs no revision: the command stays one that can be typed.
    pinned = isinstance(known, HubSource) and known.revision == revision
    at = () if pinned else ("--revision", shlex.quote(revision or "COMMIT"))
    return " ".join(["moon weights fetch", shlex.quote(hub_id) if known is None else name, *at, *options])


def named_command(name: str, *options: str) -> str:
    """The command that fetches weights of which only the name is known: of `moon weights list`, or a hub id."""
    if name in BY_NAME:
        return " ".join(["moon weights fetch", name, *options])
    return hub_command("", name, None, *options)


def made_again(folder: Path, manifest: Mapping[str, Any] | None) -> str:
    """The way to the weights of a folder that is there, but not as it should be.

    Args:
        folder: Where they lie.
        manifest: What it says of itself; None where it says nothing that can be read.
    """
    told = (manifest or {}).get("source")
    source: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    name = str((manifest or {}).get("name") or folder.name)
    # A fetch puts weights under the root by their name: elsewhere they stay as they are.
    in_place = folder.name == name and folder.parent.resolve() == weights_root().resolve()
    if source.get("kind") == "gguf":
        given = shlex.join((str(source.get("file", "FILE")), name))
        return f"remove the folder, then moon weights convert {given}"
    hub_id = name.replace("--", "/", 1)
    if source.get("hub_id"):
        command = hub_command(name, str(source["hub_id"]), str(source.get("revision") or "") or None, "--force")
    elif name in BY_NAME and (in_place or source):
        command = named_command(name, "--force")
    elif HUB_ID.fullmatch(hub_id) and in_place:
        command = named_command(hub_id, "--force")
    else:
        return COPY_AGAIN
    if source.get("kind") == "folder":
        command += "; add --from FOLDER where a snapshot is at hand"
    return command if in_place else f"{command}; then name {command.split()[3]} instead of this folder"
