"""A small shop with a fault of each kind, from its rows to a frozen set, by the command a user types."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from zenml.cli.cli import cli
from zenml.client import Client

from catalog import ArtifactName
from tests.pipelines.conftest import Workplace, draw_photo, make_shop
from validation.freezing import load_eval_set, read_digest

pytestmark = pytest.mark.pipeline

T = 1_700_000_000


def build(recipe: Path) -> Result:
    return CliRunner().invoke(cli, ["pipeline", "run", "build_benchmark", "-c", str(recipe)], catch_exceptions=False)


def recipe_at(folder: Path, shop: Path, **sections: Any) -> Path:
    tree = {
        "catalog": {"source": "folder", "path": str(shop), "split": {"test_frac": 0.5, "cut_time_s": T}},
        "benchmark": {"min_attribute_n": 5},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"parameters": {"config": tree | sections}}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty products asked for after T, and one that is listed twice under a recompressed photo."""
    folder = tmp_path_factory.mktemp("sold") / "shop"
    make_shop(folder, num_products=60)
    products, queries = (
        [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("products", "queries")
    )
    draw_photo(folder / "again.png", 0, 0)
    with Image.open(folder / "again.png") as image:
        image.resize((40, 40)).save(folder / "images" / "again.jpg", quality=80)
    twin = {"product_id": "twin", "group_id": "elsewhere", "title": f"{products[0]['title']} NEW"}
    products.append(products[0] | twin | {"images": ["images/again.jpg"]})
    queries.append(
        {"query_id": "of-twin", "kind": "text", "text": "words", "product_ids": ["twin"], "signal": "purchase"}
    )
    for name, rows in (("products", products), ("queries", [row | {"timestamp": T + 5} for row in queries])):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def built(workplace: Workplace, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("kept")
    freezing = {"folder": str(folder / "mbe"), "licence": "CC0-1.0", "name": "sixty things"}
    result = build(recipe_at(folder, shop, curating={"min_support": 1}, freezing=freezing))
    assert result.exit_code == 0, result.output
    return result, folder / "mbe"


def test_the_run_ends_with_what_was_found_and_what_to_type_next(built: tuple[Result, Path]) -> None:
    output = built[0].output
    told = {rule: int(count) for count, rule in re.findall(r"^ +(\d+)  (\w+)", output, re.MULTILINE)}
    assert told["duplicates"] == 1
    assert told["near_identical_photos"] == 1
    assert told["late_purchases"] > 0
    assert f"digest          {read_digest(built[1])}" in output
    last = output.rstrip().splitlines()[-1].split()
    assert last[:4] == ["moon", "evaluate", "--model", "MODEL"]
    assert load_eval_set(last[-1], check_photos=True).digest == read_digest(built[1])


def test_the_set_lies_where_the_recipe_wants_it_and_in_the_artifact_store(built: tuple[Result, Path]) -> None:
    run = Client().get_pipeline("build_benchmark").last_successful_run
    outputs = run.steps["build_benchmark"].outputs
    frozen = outputs[ArtifactName.EVAL_SET.value][0].load()
    kept = load_eval_set(built[1])
    assert load_eval_set(frozen.path).digest == frozen.digest == kept.digest
    assert "twin" not in {item.product.product_id for item in kept.gallery}
    card = outputs[ArtifactName.EVAL_SET_CARD.value][0].load()
    assert card.startswith("# sixty things")
    assert "CC0-1.0" in card


def test_mlflow_holds_digest_counts_and_card(workplace: Workplace, built: tuple[Result, Path]) -> None:
    client = workplace.mlflow()
    experiment = client.get_experiment_by_name("build_benchmark")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"], max_results=1)[0]
    assert run.data.tags["eval_set_digest"] == read_digest(built[1])
    assert run.data.metrics["found/duplicates"] == 1.0
    assert run.data.params["curating.min_support"] == "1.0"
    names = {Path(row.path).name for row in client.list_artifacts(run.info.run_id, ArtifactName.EVAL_SET.value)}
    assert names == {"CARD.md", "DIGEST", "evalset.json", "findings.json"}


def test_another_set_in_the_folder_ends_the_run_and_leaves_no_photograph_in_the_temporary_folder(
    built: tuple[Result, Path], shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    at_the_end: list[partial[None]] = []
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr(
        "steps.build_benchmark.atexit.register", lambda *args, **more: at_the_end.append(partial(*args, **more))
    )
    curating = {"min_support": 1, "max_queries": 3}
    result = build(recipe_at(tmp_path, shop, curating=curating, freezing={"folder": str(built[1])}))
    assert result.exit_code == 1
    assert "another evaluation set lies there" in result.output
    assert list(temporary.rglob("photos"))
    for clean in at_the_end:
        clean()
    assert not list(temporary.rglob("photos"))
    assert "Traceback" not in result.output


def test_a_support_that_no_query_has_ends_the_run(built: tuple[Result, Path], shop: Path, tmp_path: Path) -> None:
    result = build(recipe_at(tmp_path, shop, curating={"min_support": 9, "min_photo_support": 9}))
    assert result.exit_code == 1
    assert "no query has enough support" in result.output
    assert "curating.min_support" in result.output
