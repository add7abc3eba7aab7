"""Training curves: written beside the checkpoints, shown live in MLflow, and replayed when a run did not train."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import mlflow
from lightning.pytorch.loggers.logger import Logger

Row = dict[str, float]
"""`step` and the metrics logged at that step."""


class CurveLogger(Logger):
    """A Lightning logger that survives a kill: rows go to a file first, then to the MLflow run that is active.

    Args:
        path: JSON lines; rows of an interrupted run are kept and shown again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        log_rows(self.rows())

    @property
    def name(self) -> str:
        return "curve"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration is logged by the step `report`; nothing to do here."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": float(step or 0), **{name: float(value) for name, value in metrics.items() if name != "step"}}
        # The line break comes first: a line that a kill cut off must not swallow the next.
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps(row))
        log_rows([row])

    def rows(self) -> list[Row]:
        """Rows in order of their step; where a resumed run repeats a step, the later row counts."""
        if not self._path.exists():
            return []
        merged: dict[float, Row] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines():
            # A kill can cut the last line; the steps after the checkpoint are logged again anyway.
            if line.endswith("}"):
                row = json.loads(line)
                merged[row["step"]] = merged.get(row["step"], {}) | row
        return [merged[key] for key in sorted(merged)]


def log_rows(rows: Iterable[Row]) -> None:
    """Log rows to the active MLflow run; nothing where none is active."""
    if mlflow.active_run() is None:
        return
    for row in rows:
        metrics = {mlflow_key(name): value for name, value in row.items() if name != "step"}
        if metrics:
            mlflow.log_metrics(metrics, step=int(row["step"]))


def mlflow_key(name: str) -> str:
    """A name as MLflow takes it for a metric, a parameter or a tag: recall@1 becomes recall_at_1."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))
