"""The local stack: a ZenML repository, an MLflow tracker, a local artifact store and a local orchestrator."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from zenml.client import Client
from zenml.enums import StackComponentType
from zenml.models import ComponentResponse

from catalog.errors import ConfigError
from catalog.names import EXPERIMENT

STACK = "moon"
TRACKER = "moon_mlflow"
ARTIFACT_STORE = "moon_artifacts"
ORCHESTRATOR = "moon_local"

OF_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Without it the MLflow UI opens our experiments among chats and prompts, not among trainings."""

EXPERIMENTS = (EXPERIMENT, "promote_moon", "rollback_moon", "embed_catalog", "build_benchmark")


@dataclass(frozen=True)
class StackPaths:
    """Where the local stack keeps its things."""

    root: Path
    """Of the project: ZenML's repository lies here, and `mlflow ui` is started here."""

    @property
    def tracking_uri(self) -> str:
        """The file that `mlflow ui` reads when it is started in `root` with no argument."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlartifacts"

    @property
    def zenml_artifacts(self) -> Path:
        return self.root / ".moon" / "artifacts"


def set_up_stack(root: Path) -> list[str]:
    """Make repository, components, stack and experiments; what is there already stays.

    Components are known to ZenML by name for all projects of a user. A second checkout of the project gets names of
    its own; one that was moved takes its names along.

    Returns:
        What was done, one sentence each; empty when nothing was left to do.
    """
    paths = StackPaths(root.resolve())
    done: list[str] = []
    if not Client.is_repository_directory(paths.root):
        Client.initialize(paths.root)
        done.append(f"made the ZenML repository {paths.root / '.zen'}")
    client = Client()
    client.activate_root(paths.root)
    paths.zenml_artifacts.mkdir(parents=True, exist_ok=True)
    mark = _mark(client, paths)
    stack = STACK + mark
    wanted = {
        StackComponentType.ORCHESTRATOR: (ORCHESTRATOR + mark, "local", {}),
        StackComponentType.ARTIFACT_STORE: (ARTIFACT_STORE + mark, "local", {"path": str(paths.zenml_artifacts)}),
        StackComponentType.EXPERIMENT_TRACKER: (TRACKER + mark, "mlflow", {"tracking_uri": paths.tracking_uri}),
    }
    for kind, (name, flavor, settings) in wanted.items():
        done += _component(client, kind, name, flavor, settings)
    names = {kind: name for kind, (name, _, _) in wanted.items()}
    if not client.list_stacks(name=stack).items:
        client.create_stack(stack, names)
        done.append(f"registered the stack `{stack}`: {', '.join(sorted(names.values()))}")
    if client.active_stack_model.name != stack:
        client.activate_stack(stack)
        done.append(f"made `{stack}` the active stack of this repository")
    return done + _experiments(paths)


def tracking_uri() -> str:
    """Where the active stack keeps its MLflow runs.

    Raises:
        ConfigError: The active stack has no MLflow tracker.
    """
    from zenml.integrations.mlflow.experiment_trackers import MLFlowExperimentTracker

    stack = Client().active_stack
    if not isinstance(stack.experiment_tracker, MLFlowExperimentTracker):
        raise ConfigError(
            "the active ZenML stack has no MLflow tracker", where=f"stack `{stack.name}`", fix="moon setup"
        )
    return stack.experiment_tracker.get_tracking_uri()


def _mark(client: Client, paths: StackPaths) -> str:
    """Nothing, or a suffix for the names where another checkout that still exists has taken them."""
    for row in client.list_stack_components(type=StackComponentType.EXPERIMENT_TRACKER.value, name=TRACKER).items:
        uri = str(row.configuration.get("tracking_uri", ""))
        if uri != paths.tracking_uri and Path(uri.removeprefix("sqlite:///")).exists():
            return "_" + hashlib.sha256(str(paths.root).encode()).hexdigest()[:6]
    return ""


def _component(client: Client, kind: StackComponentType, name: str, flavor: str, settings: dict[str, str]) -> list[str]:
    found: list[ComponentResponse] = list(client.list_stack_components(type=kind.value, name=name).items)
    if not found:
        client.create_stack_component(name, flavor, kind, settings)
        return [f"registered the {kind.value.replace('_', ' ')} `{name}`"]
    if all(found[0].configuration.get(key) == value for key, value in settings.items()):
        return []
    client.update_stack_component(name, kind, configuration=dict(settings))
    return [f"gave the {kind.value.replace('_', ' ')} `{name}` this folder's paths"]


def _experiments(paths: StackPaths) -> list[str]:
    """Make the experiments, so that their artifacts lie below the project wherever a run is started."""
    import mlflow  # takes two seconds, and creates the database

    client = mlflow.MlflowClient(tracking_uri=paths.tracking_uri)
    done = []
    for name in EXPERIMENTS:
        if client.get_experiment_by_name(name) is None:
            location = (paths.mlflow_artifacts / name).as_uri()
            client.create_experiment(name, artifact_location=location, tags=OF_TRAINING)
            done.append(f"made the MLflow experiment `{name}` in {paths.root / 'mlflow.db'}")
    return done
