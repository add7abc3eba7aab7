"""Which code on which machine made a row."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.ablation.protocol import PROJECT_ROOT

_NOT_CODE = (":!benchmarks/results", ":!docs", ":!tests", ":!*.md")
"""What a run writes itself, and what it does not read, must not make its own code look changed."""


@cache
def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, versions; nothing that names a host or a person."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit the code stands on, with `+` where tracked code differs from it; empty outside a git checkout."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *_NOT_CODE)
    return "" if head is None or changes is None else head + ("+" if changes else "")


def same_code(made_at: str) -> bool:
    """Whether the code as it is now is that of a commit.

    Commits that hold rows, pages or tests alone make no other code. What was made where code differed from its commit
    (`+`) is never known to be the same.

    Args:
        made_at: As `commit` gave it.
    """
    return bool(made_at) and not made_at.endswith("+") and _git("diff", "--quiet", made_at, "--", ".", *_NOT_CODE) == ""


def _git(*arguments: str) -> str | None:
    """What git prints; None where it fails, is not there, or has no checkout to look at."""
    try:
        done = subprocess.run(("git", *arguments), cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
