"""What the README tells a newcomer to type exists, and what it shows as input is accepted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

from catalog import CatalogConfig, Query
from catalog.sources import load_catalog
from moon.cli import app
from moon.recipes import check_recipe
from pipelines import PIPELINES, train_moon
from validation.benchmark.table import SHOWN_METRICS
from validation.gate import GatePolicy

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```(?:bash|console)\n(.*?)```", TEXT, flags=re.DOTALL))


def test_the_readme_shows_shell_and_rows() -> None:
    assert SHELL.count("zenml pipeline run") >= 5
    assert TEXT.count('{"product_id"') >= 3


@pytest.mark.parametrize("name", sorted(set(re.findall(r"zenml pipeline run (\w+)", SHELL))))
def test_every_pipeline_named_is_one(name: str) -> None:
    assert name in PIPELINES


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"configs/\S+\.yaml", TEXT)) - {"configs/train_moon/my_shop.yaml"})
)
def test_every_recipe_named_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)\b", SHELL))))
def test_every_make_target_named_is_one(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("words", sorted(set(re.findall(r"(?m)^moon ([a-z-]+(?: (?:inspect|import))?)", SHELL))))
def test_every_moon_command_named_is_one(words: str) -> None:
    command = get_command(app)
    for word in words.split():
        command = command.commands[word]  # type: ignore[attr-defined]


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)[^):]*\)", TEXT))))
def test_every_file_linked_is_there(link: str) -> None:
    assert (ROOT / link).is_file()


def test_the_rows_shown_are_a_catalogue(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in TEXT.splitlines() if line.startswith('{"product_id"')]
    (tmp_path / "products.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for number, ref in enumerate(ref for row in rows for ref in row["images"]):
        (tmp_path / ref).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (number * 40, 80, 120)).save(tmp_path / ref)
    loaded = load_catalog(CatalogConfig(source="folder", path=str(tmp_path)), work_dir=str(tmp_path))
    assert [product.product_id for product in loaded.products] == [row["product_id"] for row in rows]
    assert loaded.by_id["tee-red"].group_id == loaded.by_id["tee-blue"].group_id
    shown = re.search(r'`(\{"query_id".*?\})`', TEXT)
    assert shown is not None
    assert Query.model_validate(json.loads(shown[1])).product_ids == ("tee-red",)


def test_the_recipe_shown_passes_and_its_policy_begins_with_the_usual_keys(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "mine.yaml").write_text(shown, encoding="utf-8")
    policy = check_recipe(tmp_path / "mine.yaml", train_moon.recipe_schema())["config"].gate.policy
    assert isinstance(policy, GatePolicy)
    assert policy.model_fields_set >= {"required_tasks", "floors", "beat", "champion", "min_n"}
    assert {*policy.floors, *policy.champion} <= set(SHOWN_METRICS)


def test_every_benchmark_is_named_and_is_there() -> None:
    (names,) = re.findall(r"`python -m benchmarks\.NAME --help`: (.*?) \|", TEXT)
    there = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if '== "__main__"' in path.read_text("utf-8")}
    there |= {path.parent.name for path in (ROOT / "benchmarks").glob("*/__main__.py")}
    assert set(re.findall(r"`(\w+)`", names)) == there
