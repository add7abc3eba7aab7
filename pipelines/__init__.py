"""The DAGs, wiring only. A pipeline is imported when it is asked for, as `pipelines.train_moon`."""

from __future__ import annotations

import importlib
from typing import Any

PIPELINES: dict[str, str] = {
    "train_moon": "pipelines.training",
    "promote_moon": "pipelines.promotion",
    "rollback_moon": "pipelines.promotion",
    "embed_catalog": "pipelines.embedding",
    "build_benchmark": "pipelines.benchmark",
    "train_regions": "pipelines.regions",
}
"""Pipeline -> the module that wires it. The names differ, so that importing the module never hides the pipeline."""


def __getattr__(name: str) -> Any:
    if name in PIPELINES:
        return getattr(importlib.import_module(PIPELINES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
