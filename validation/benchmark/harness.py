"""Which code judged: scores of two versions of it are not compared."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import catalog

_ROOMS = ("benchmark", "search", "statistics")
_SHOWS = ("__init__", "gallery", "table")
"""Modules that show scores and make none."""
_CATALOGS = ("background", "images", "items", "labels", "likeness")


@cache
def harness_digest() -> str:
    """SHA-256 over the sources that build evaluation sets and compute scores."""
    validation, there = Path(__file__).parents[1], Path(catalog.__file__).parent
    ours = (path for room in _ROOMS for path in sorted((validation / room).glob("*.py")) if path.stem not in _SHOWS)
    total = hashlib.sha256()
    for path in (*ours, *(there / f"{name}.py" for name in _CATALOGS)):
        total.update(f"{path.parent.name}/{path.name}".encode() + b"\x00" + path.read_bytes() + b"\x00")
    return total.hexdigest()
