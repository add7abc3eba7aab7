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

_NOT_CODE = (":!benchmarks/results", ":!docs")
"""What a run writes itself must not make its own code look changed."""


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
    """The commit the code stands on, with `+` where tracked files differ from it; empty outside a git checkout."""
    answers = []
    for arguments in (
        ("rev-parse", "--short=12", "HEAD"),
        ("status", "--porcelain", "--untracked-files=no", "--", ".", *_NOT_CODE),
    ):
        try:
            done = subprocess.run(("git", *arguments), cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        if done.returncode:
            return ""
        answers.append(done.stdout.strip())
    return answers[0] + ("+" if answers[1] else "")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
