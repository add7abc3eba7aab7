"""`moon doctor`: what is installed and set up, what is not, and the command that mends it."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from moon.quiet import QUIET

PACKAGES = (
    *("torch", "torchvision", "lightning", "transformers", "zenml", "mlflow", "bentoml", "great-expectations"),
    *("ultralytics", "lancedb", "pillow", "numpy", "pandas", "pydantic"),
)
SWITCHES = {
    "ZenML": "ZENML_ANALYTICS_OPT_IN",
    "MLflow": "MLFLOW_DISABLE_TELEMETRY",
    "BentoML": "BENTOML_DO_NOT_TRACK",
    "Great Expectations": "GX_ANALYTICS_ENABLED",
    "Ultralytics": "YOLO_OFFLINE",
    "Gradio": "GRADIO_ANALYTICS_ENABLED",
    "Ray": "RAY_USAGE_STATS_ENABLED",
}
"""Tool -> the variable that it listens to."""
SWITCHED_BY_HOOK = ("ZenML",)
LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer."""

    what: str
    text: str
    mend: str = ""
    """The command that mends it; empty when all is well."""


def doctor(ctx: typer.Context) -> None:
    """Show versions, device, telemetry and set-up; ends with status 1 when something has to be mended.

    Example: moon doctor
    """
    environment: Mapping[str, str] = ctx.obj or {}
    findings = [*packages(), *device(), *pretrained(), *telemetry(environment), *stack()]
    for row in findings:
        typer.echo(f"{'ok ' if not row.mend else 'NO '} {row.what:<22} {row.text}")
    ailing = [row for row in findings if row.mend]
    if ailing:
        typer.echo("\nto mend:")
        for command in dict.fromkeys(row.mend for row in ailing):
            typer.echo(f"  {command}")
        raise typer.Exit(1)


def packages() -> Iterator[Finding]:
    """Installed versions against the lock."""
    yield Finding("Python", f"{platform.python_version()} at {sys.prefix}")
    pinned = locked_versions(LOCK)
    for name in PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, "not installed", "make install")
            continue
        wanted = pinned.get(name)
        same = wanted is None or found.partition("+")[0] == wanted
        yield Finding(name, found if same else f"{found}, the lock has {wanted}", "" if same else "make install")


def locked_versions(lock: Path) -> dict[str, str]:
    """Package -> version, as the lock pins them; empty where there is no lock."""
    if not lock.exists():
        return {}
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;+]+)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name.lower().replace("_", "-"): pinned for name, pinned in found}


def device() -> Iterator[Finding]:
    """Where a run would compute, in which precision, and why."""
    from models.devices import choose_device, choose_precision

    chosen, why = choose_device("auto")
    precision, why_precision = choose_precision("auto", chosen)
    yield Finding("device", f"{chosen} ({why})")
    yield Finding("precision", f"{precision} ({why_precision})")


def pretrained() -> Iterator[Finding]:
    """Which pretrained weights are at hand; none is nothing to mend, since `nano` needs none."""
    from models.weights import KNOWN, missing_files, weights_root

    root = weights_root()
    for source in KNOWN:
        folder = root / source.name
        if not folder.is_dir():
            yield Finding(f"weights {source.name}", f"not here (moon weights fetch {source.name})")
        elif missing := missing_files(folder):
            yield Finding(f"weights {source.name}", missing[0], f"moon weights fetch {source.name} --force")
        else:
            yield Finding(f"weights {source.name}", f"{folder} ({source.licence})")


def telemetry(environment: Mapping[str, str]) -> Iterator[Finding]:
    """What each tool sends: nothing inside MOON; started by hand, what its variable says."""
    for tool, name in SWITCHES.items():
        value = environment.get(name)
        if value is None and tool in SWITCHED_BY_HOOK:
            yield Finding(f"telemetry {tool}", "off (MOON's hook switches it off wherever it is imported)")
        elif value is None:
            by_hand = f"on when you start it yourself: {name} is not set in this shell"
            yield Finding(f"telemetry {tool}", f"off in MOON, {by_hand}", "moon setup && source .venv/bin/activate")
        elif value.lower() != QUIET[name].lower():
            yield Finding(f"telemetry {tool}", f"on: {name}={value}", f"export {name}={QUIET[name]}")
        else:
            yield Finding(f"telemetry {tool}", f"off ({name}={value})")


def stack() -> Iterator[Finding]:
    """Whether `zenml pipeline run` finds a repository and a stack with an MLflow tracker."""
    from zenml.client import Client

    root = Client.find_repository()
    if root is None:
        yield Finding("ZenML repository", f"none at {Path.cwd()} or above", "moon setup")
        return
    yield Finding("ZenML repository", str(root))
    active = Client().active_stack
    tracker = active.experiment_tracker
    if tracker is None:
        yield Finding("ZenML stack", f"`{active.name}` has no MLflow tracker", "moon setup")
        return
    yield Finding("ZenML stack", f"{active.name}: {tracker.name}, {active.artifact_store.path}")
