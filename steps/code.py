"""Which of our files a step stands on, one digest over them, and what else decides whether a result is served again.

ZenML's cache key covers a step's own function. What it calls in the rooms is added here: every file that the step's
module imports, and what those import, and the lock of the environment. Imports are read from the source, so nothing is
executed and no list has to be kept.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from zenml.config.cache_policy import CachePolicy

from steps.store import store_mark

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("catalog", "validation", "models", "serving", "steps")
"""Packages whose code can change what a step returns; `moon` gives values only, which are parameters of the step."""
LOCK_FILE = "requirements.lock"


def code_digest(module: str) -> str:
    """SHA-256 over the files that `module` stands on, and the lock where there is one.

    Args:
        module: Dotted name, such as `steps.train_model`.
    """
    total = hashlib.sha256()
    paths = [*(str(path.relative_to(PROJECT_ROOT)) for path in code_files(module)), LOCK_FILE]
    for name in sorted(paths):
        path = PROJECT_ROOT / name
        if path.exists():
            total.update(f"{name}\x00{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def cache_key(module: str) -> str:
    """What a step's result hangs on beside its inputs: the code it stands on, and the folder that keeps its results.

    Args:
        module: Dotted name that ends with the step's own.

    Raises:
        StorageError: The folder cannot be written.
    """
    return f"{code_digest(module)} {store_mark(module.rpartition('.')[2])}"


def cached_by(key: Callable[[], str]) -> CachePolicy:
    """ZenML's default cache key, and one of our own.

    Args:
        key: `cache_key` in a function of the step's module, because ZenML calls it by name and without arguments.
    """
    return CachePolicy(cache_func=key)  # type: ignore[arg-type]  # ZenML resolves functions itself


def code_files(module: str) -> frozenset[Path]:
    """Files of our rooms that `module` reaches through its imports, its own file included."""
    seen: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _module_file(name)
        if name in seen or path is None:
            continue
        seen[name] = path
        waiting.extend(_imported(name, path, path.stat().st_mtime_ns))
    # A package runs when a module below it is imported, but what it hands on is followed only when asked for by name:
    # otherwise a step that uses one corner of a room would stand on the whole of it.
    parents = {_module_file(parent) for name in seen for parent in _parents(name)}
    return frozenset(seen.values()) | frozenset(path for path in parents if path is not None)


@cache
def _imported(name: str, path: Path, mtime_ns: int) -> tuple[str, ...]:
    """Modules of our rooms that the file names in an import, wherever in the file it stands."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            children = [f"{base}.{alias.name}" for alias in node.names]
            submodules = [child for child in children if _module_file(child) is not None]
            found.extend(submodules)
            if len(submodules) < len(children):
                found.append(base)
    return tuple(module for module in found if module.split(".")[0] in ROOMS)


def _module_file(name: str) -> Path | None:
    """The file of a module in one of our rooms; None for anything else."""
    if name.split(".")[0] not in ROOMS:
        return None
    base = PROJECT_ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:size]) for size in range(1, len(parts))]


def commit() -> str:
    """The commit the project stands on, with `+` where files differ from it; empty outside a git checkout."""
    answers = []
    for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        try:
            done = subprocess.run(("git", *arguments), cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        if done.returncode:
            return ""
        answers.append(done.stdout.strip())
    return answers[0] + ("+" if answers[1] else "")
