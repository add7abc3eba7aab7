"""`moon gate`: why a model was let through or refused, and what a policy asks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from catalog.errors import ConfigError
from catalog.names import EXPERIMENT, ArtifactName

gate = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What the gate decided and why. Every key of a policy: docs/GATE.md.",
)

_FILES = ("decision.json", f"{ArtifactName.DECISION}/decision.json", "record.json")
"""Where a folder may keep a decision: as MLflow keeps it, and as ZenML does."""


@gate.command()
def explain(
    run: Annotated[str, typer.Argument(help="Name or id of a run, or a decision.json, or a folder that holds one.")],
) -> None:
    """Print each rule of a decision with its numbers, verdict, waiver and reason; refusals first.

    Example: moon gate explain train_moon-2026_03_01-12_00_00
    """
    from validation.gate import Decision, explained

    path = Path(run)
    data = _from_path(path) if path.exists() else _from_run(run)
    typer.echo(explained(Decision.from_dict(_decision_in(data, run))))


@gate.command()
def check(
    policy: Annotated[Path, typer.Argument(help="A policy, such as configs/gates/demo.yaml.")],
) -> None:
    """Hold a policy against the language and list its rules, by the names that waivers use.

    Example: moon gate check configs/gates/demo.yaml
    """
    from validation.gate import GateConfig, load_policy

    read = load_policy(GateConfig(policy=str(policy)))
    if not read.judges_scores():
        raise ConfigError(
            "the policy would refuse every model: it judges no score",
            where=str(policy),
            fix="add floors, ceilings or beat",
        )
    names = sorted(read.rule_names())
    typer.echo("\n".join([f"{policy}: {len(names)} rules", *(f"  {name}" for name in names)]))


def _from_path(path: Path) -> Any:
    files = [path / name for name in _FILES] if path.is_dir() else [path]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise ConfigError("the folder holds no decision", where=str(path), allowed=", ".join(_FILES), fix="moon runs")
    try:
        return json.loads(found.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("decision cannot be read", where=str(found), got=str(error), fix="moon runs") from None


def _from_run(run: str) -> Any:
    """The decision of an MLflow run, else of a ZenML run that did not get as far as its report."""
    data = _from_mlflow(run)
    if data is None:
        data = _from_zenml(run)
    if data is None:
        raise ConfigError(
            "no such run, or it has no decision",
            got=run,
            allowed="name or id of a run of train_moon whose gate has decided, or a path",
            fix="moon runs",
        )
    return data


def _from_mlflow(run: str) -> Any:
    import mlflow

    from moon.stack import tracking_uri

    # A bar for one small file would stand in the middle of the answer.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(tracking_uri())
    names = {run, f"{EXPERIMENT}-{run}"}
    found = mlflow.search_runs(experiment_names=[EXPERIMENT], order_by=["start_time DESC"], output_format="list")
    client, path = mlflow.MlflowClient(), f"{ArtifactName.DECISION}/{ArtifactName.DECISION}.json"
    for row in found:
        if row.info.run_id == run or row.info.run_name in names:
            there = [file.path for file in client.list_artifacts(row.info.run_id, ArtifactName.DECISION.value)]
            if path in there:
                return json.loads(mlflow.artifacts.load_text(f"runs:/{row.info.run_id}/{path}"))
    return None


def _from_zenml(run: str) -> Any:
    from zenml.client import Client

    for name in (run, f"{EXPERIMENT}-{run}"):
        try:
            found = Client().get_pipeline_run(name)
        except KeyError:
            continue
        outputs = found.steps["gate"].outputs if "gate" in found.steps else {}
        if ArtifactName.DECISION.value in outputs:
            return outputs[ArtifactName.DECISION.value][0].load().to_dict()
    return None


def _decision_in(data: Any, where: str) -> dict[str, Any]:
    """The decision itself, out of what a step returned or what ZenML wrote around it."""
    for wrapping in ("record", ArtifactName.DECISION.value):
        if isinstance(data, dict) and isinstance(data.get(wrapping), dict):
            data = data[wrapping]
    if not isinstance(data, dict) or "rules" not in data:
        raise ConfigError("this is no decision of the gate", where=where, fix="moon runs")
    return data
