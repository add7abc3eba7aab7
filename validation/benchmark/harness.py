"""Which code judged: scores of two versions of it are not compared."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import catalog

_OURS = ("building", "evalset", "intervals", "photos", "questions", "ranking", "run", "scoring", "words")
_CATALOGS = ("images", "items", "labels", "likeness")


@cache
def harness_digest() -> str:
    """SHA-256 over the sources that build evaluation sets and compute scores."""
    here, there = Path(__file__).parent, Path(catalog.__file__).parent
    total = hashlib.sha256()
    for path in (*(here / f"{name}.py" for name in _OURS), *(there / f"{name}.py" for name in _CATALOGS)):
        total.update(path.name.encode() + b"\x00" + path.read_bytes() + b"\x00")
    return total.hexdigest()
