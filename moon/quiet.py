"""Variables every tool under MOON listens to, in one place: telemetry off, and threads that yield."""

from __future__ import annotations

import os

QUIET: dict[str, str] = {
    "ZENML_ANALYTICS_OPT_IN": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""Variable -> the value that switches telemetry, or a look at the network, off."""

CONSIDERATE: dict[str, str] = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Read once, when torch is imported. Waiting threads sleep instead of spinning: no slower alone, and about twice as
fast where another process works on the same cores."""


def switch_off_telemetry() -> None:
    """Set every variable of QUIET that the user has not set to something else."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def share_the_cores() -> None:
    """Set every variable of CONSIDERATE that the user has not set; without effect once torch is imported."""
    for name, value in CONSIDERATE.items():
        os.environ.setdefault(name, value)
