"""A tiny detector of a few demo products, by the command a user types."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from zenml.cli.cli import cli
from zenml.client import Client

from catalog import ArtifactName
from models.region_training import read_card
from models.regions import RegionsConfig, YoloConfig, make_detector
from tests.pipelines.conftest import Workplace

pytestmark = pytest.mark.pipeline


def _recipe(workplace: Workplace, name: str, **changes: object) -> Path:
    tree: dict[str, object] = {
        "catalog": {"source": "demo", "demo": {"num_products": 24, "image_size_px": 96, "num_workers": 1}},
        "scenes": {"scene": {"side_px": 96}, "num_train": 8, "num_val": 4, "num_held_out": 4, "num_workers": 1},
        "fit": {"side_px": 64, "epochs": 1, "batch_size": 4, "num_threads": 1, "device": "cpu"},
    }
    path = workplace.root / name
    path.write_text(yaml.safe_dump({"parameters": {"config": tree | changes}}), encoding="utf-8")
    return path


def _run(recipe: Path) -> Result:
    return CliRunner().invoke(cli, ["pipeline", "run", "train_regions", "-c", str(recipe)], catch_exceptions=False)


@pytest.fixture(scope="module")
def first(workplace: Workplace) -> tuple[Path, Result]:
    """The recipe and how its run ended; its detector is written to `detector` beside."""
    export = {"name": "tiny", "folder": str(workplace.root / "detector")}
    recipe = _recipe(workplace, "regions.yaml", export=export)
    return recipe, _run(recipe)


def test_a_detector_comes_out_with_its_card(workplace: Workplace, first: tuple[Path, Result]) -> None:
    recipe, ended = first
    assert ended.exit_code == 0, ended.output
    assert "core chosen right" in ended.output
    out = recipe.parent / "detector"
    assert read_card(out).num_scenes == {"train": 8, "val": 4, "one_product": 4, "distractors": 4, "hard": 4}
    yolo = YoloConfig(weights="tiny.safetensors", side_px=64)
    assert make_detector(RegionsConfig(backend="yolo", yolo=yolo), out).digest
    mlflow = workplace.mlflow()
    experiment = mlflow.get_experiment_by_name("train_regions")
    assert experiment is not None
    (logged, *_) = mlflow.search_runs([experiment.experiment_id])
    assert {"held_out/hard/mean_iou", "train/box_loss"} <= set(logged.data.metrics)
    names = {file.path for file in mlflow.list_artifacts(logged.info.run_id)}
    wanted = (ArtifactName.DETECTOR, ArtifactName.DETECTOR_PICTURES, ArtifactName.DETECTOR_TRAINING)
    assert {name.value for name in wanted} <= names


def test_a_second_run_trains_nothing(first: tuple[Path, Result]) -> None:
    second = _run(first[0])
    assert second.exit_code == 0, second.output
    again = Client().get_pipeline("train_regions").last_run
    cached = {name for name, one in again.steps.items() if one.status == "cached"}
    assert cached == {"compose_scenes", "fit_detector", "judge_detector"}


def test_a_catalogue_of_which_nothing_can_be_cut_out_is_refused(workplace: Workplace) -> None:
    """The tests' shop has noise behind its products."""
    catalog = {"source": "folder", "path": str(workplace.shop)}
    ended = _run(_recipe(workplace, "noise.yaml", catalog=catalog))
    assert ended.exit_code == 1
    assert "could be cut out" in ended.output
