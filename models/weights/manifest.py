"""What a weights folder must hold, byte for byte: manifest.json, written when the weights were fetched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog import ModelError
from models.weights.again import made_again

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MAX_NAMED_FILES = 6


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read piece by piece; hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, name: str, licence: str, source: Mapping[str, str]) -> None:
    """Record every file of `folder` with its size in bytes and SHA-256."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    value = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "licence": licence,
        "source": dict(source),
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None for a folder that was not fetched by MOON.

    Raises:
        ModelError: It is there, but damaged or of another schema.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
        raise _damaged(path, f"schema_version {value.get('schema_version') if isinstance(value, dict) else value}")
    if not isinstance(value.get("source"), dict) or not all(isinstance(value.get(x), str) for x in ("name", "licence")):
        raise _damaged(path, "no name, licence or source")
    files = value.get("files")
    whole = isinstance(files, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )
    if not whole or any(Path(name).is_absolute() or ".." in Path(name).parts for name in files or ()):
        raise _damaged(path, "its list of files is not one")
    return value


def files_amiss(folder: Path, *, by_digest: bool) -> list[str]:
    """What of a manifest does not hold: files absent, of another size, and `by_digest` of another content.

    Args:
        folder: A folder of weights; one without a manifest has nothing amiss here.
        by_digest: Read every byte (a second per gigabyte), not the sizes alone.
    """
    manifest = read_manifest(folder)
    amiss: list[str] = []
    for name, entry in (manifest or {"files": {}})["files"].items():
        path = folder / name
        if not path.is_file():
            amiss.append(f"{name} missing")
        elif path.stat().st_size != entry["bytes"]:
            amiss.append(f"{name} has {path.stat().st_size} bytes, not {entry['bytes']}")
        elif by_digest and file_sha256(path) != entry["sha256"]:
            amiss.append(f"{name} has another SHA-256")
    return amiss


def check_manifest(folder: Path) -> dict[str, Any]:
    """Verify every file of a fetched folder by its digest.

    Returns:
        The manifest.

    Raises:
        ModelError: No manifest, a damaged one, or files that are not those it names.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise ModelError(
            "weights folder has no manifest.json, so its files cannot be checked",
            where=str(folder),
            fix=made_again(folder, None),
        )
    amiss = files_amiss(folder, by_digest=True)
    if amiss:
        raise ModelError(
            "weights are not those that were fetched",
            where=str(folder),
            got="; ".join(amiss[:MAX_NAMED_FILES]) + (f"; and {len(amiss) - MAX_NAMED_FILES} more" * (len(amiss) > 6)),
            fix=made_again(folder, manifest),
        )
    return manifest


def folder_digest(folder: Path) -> str:
    """SHA-256 over names and contents of a folder's files; equal for equal files, wherever the folder lies.

    Files that a manifest names are taken at its word while their sizes agree: reading gigabytes at every start would
    cost more than it tells, and `moon weights check` reads them. Files without a manifest are read.
    """
    manifest = read_manifest(folder)
    known = {} if manifest is None or files_amiss(folder, by_digest=False) else manifest["files"]
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name == MANIFEST or path.relative_to(folder).parts[0].startswith("."):
            continue
        digest = known[name]["sha256"] if name in known else file_sha256(path)
        total.update(f"{name}\x00{digest}\n".encode())
    return total.hexdigest()


def _damaged(path: Path, got: str) -> ModelError:
    return ModelError(
        "manifest of the weights cannot be read",
        where=str(path),
        got=got,
        allowed=f"schema_version {SCHEMA_VERSION} with name, licence, source and files",
        fix=made_again(path.parent, None),
    )
