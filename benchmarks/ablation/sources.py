"""Which code a result stands on."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def source_digest(*modules: ModuleType) -> str:
    """SHA-256 over the sources of packages, with all that is below them, and of single modules."""
    total = hashlib.sha256()
    for module in modules:
        own = Path(str(module.__file__))
        for path in sorted(own.parent.rglob("*.py")) if own.name == "__init__.py" else [own]:
            total.update(path.name.encode() + b"\x00" + path.read_bytes() + b"\x00")
    return total.hexdigest()
