"""What ZenML calls when it is imported: quiet tools, and pipelines that answer to their bare names.

`zenml pipeline run train_moon` imports a module of that name and wants it to be a pipeline. There is no such module:
the finder installed here hands out the pipeline itself. Everything in this file runs on every `import zenml`, so it
imports nothing heavy.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

from moon.quiet import share_the_cores, switch_off_telemetry
from pipelines import PIPELINES

_NOISY_LOGGERS = ("great_expectations", "alembic", "mlflow.store.db.utils", "httpx", "PIL", "matplotlib")
_WARNS_IN_VAIN = "zenml.integrations.mlflow.experiment_trackers.mlflow_experiment_tracker"
"""After every step it complains that it cannot switch off the autologging of packages that are not installed."""


class _PipelineFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `train_moon` and its like, only as top-level names and only when nothing else has that name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is not None or fullname not in PIPELINES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin="MOON pipeline")

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # importlib returns whatever stands in sys.modules when this method ends.
        name = module.__name__
        sys.modules[name] = getattr(importlib.import_module("pipelines"), name)


def install() -> None:
    """Switch telemetry off and make the pipelines importable by name; safe to call again."""
    switch_off_telemetry()
    share_the_cores()
    # With the root logger at DEBUG, as ZenML may leave it, these print hundreds of lines.
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_WARNS_IN_VAIN).setLevel(logging.ERROR)
    if not any(isinstance(finder, _PipelineFinder) for finder in sys.meta_path):
        sys.meta_path.append(_PipelineFinder())
