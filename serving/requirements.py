"""Which of the locked packages the service needs: the closure of what its code imports, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serving.errors import ServingError

ROOTS = (
    "bentoml",
    "fsspec",
    "httpx",
    "jinja2",
    "joblib",
    "lancedb",
    "numpy",
    "pillow",
    "pyarrow",
    "pydantic",
    "python-multipart",
    "pyyaml",
    "safetensors",
    "scipy",
    "timm",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
)
"""What catalog, models and serving import to serve."""
ULTRALYTICS = "ultralytics"


def service_requirements(lock: Path, *, include_ultralytics: bool) -> list[str]:
    """Lines of the lock that the service needs, sorted; markers are kept, so that they hold on other machines too.

    Args:
        lock: The project's lock, one `name==version ; marker` a line.
        include_ultralytics: Whether the AGPL-3.0 detector and what it pulls in are among them.

    Raises:
        ServingError: No lock, or a needed package that it does not pin.
    """
    if not lock.is_file():
        raise ServingError("the project's lock is missing", where=lock.name, fix="make lock")
    pins = _pins(lock.read_text(encoding="utf-8"))
    roots = (*ROOTS, ULTRALYTICS) if include_ultralytics else ROOTS
    needed = closure(roots)
    missing = sorted(canonicalize_name(name) for name in roots if canonicalize_name(name) not in pins)
    if missing:
        raise ServingError("the lock does not pin what the service needs", where=lock.name, got=", ".join(missing))
    return sorted(pins[name] for name in needed if name in pins)


def closure(roots: Iterable[str]) -> set[str]:
    """Canonical names of `roots` and of everything they require, whatever the platform; extras as they are asked for.

    Packages that are not installed here (another platform's) end a branch: the lock still knows the roots.
    """
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(name), "") for name in roots]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        name, extra = node
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, requires):
            if requirement.marker is not None and not _may_hold(requirement, extra):
                continue
            required = canonicalize_name(requirement.name)
            waiting += [(required, "")] + [(required, wanted) for wanted in requirement.extras]
    return {name for name, _ in seen}


def _may_hold(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    assert marker is not None
    if "extra" in str(marker):
        return bool(extra) and marker.evaluate({"extra": extra})
    # Another platform's package: its line in the lock has the marker, so keeping it costs nothing here.
    return True


def _pins(text: str) -> dict[str, str]:
    pins = {}
    for line in text.splitlines():
        line = line.split(" #")[0].strip().rstrip("\\").strip()
        if match := re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?\s*==", line):
            pins[str(canonicalize_name(match.group(1)))] = line
    return pins
