"""Recipes: every mistake is named with its line and the nearest right key; every shipped one is right."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from catalog import ConfigError
from moon.config import MoonConfig
from moon.recipes import RECIPES_FOLDER, RecipeSchema, check_recipe
from moon.yaml_lines import read_yaml

SCHEMA = RecipeSchema(
    top_keys={"parameters", "steps", "enable_cache", "settings"},
    step_keys={"enable_cache", "parameters", "settings"},
    parameters={"config": MoonConfig, "version": str | None},
    steps={"train_model": ["model", "train"], "gate": []},
)


def recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_recipe(recipe(tmp_path, text), SCHEMA)
    return str(caught.value)


def test_values_reach_the_tree(tmp_path: Path) -> None:
    values = check_recipe(recipe(tmp_path, "parameters:\n  config:\n    train: {steps: 7}\n"), SCHEMA)
    assert values["config"].train.steps == 7
    assert values["config"].model == MoonConfig().model


def test_an_empty_recipe_is_all_defaults(tmp_path: Path) -> None:
    assert check_recipe(recipe(tmp_path, "# nothing\n"), SCHEMA) == {}


@pytest.mark.parametrize(
    ("text", "line", "key", "near"),
    [
        ("paramters: {}\n", 1, "paramters", "parameters"),
        ("steps:\n  trian_model: {}\n", 2, "steps.trian_model", "train_model"),
        ("steps:\n  gate:\n    enable_cach: false\n", 3, "steps.gate.enable_cach", "enable_cache"),
        (
            "steps:\n  train_model:\n    parameters:\n      trian: {}\n",
            4,
            "steps.train_model.parameters.trian",
            "train",
        ),
        ("parameters:\n  confg: {}\n", 2, "parameters.confg", "config"),
        ("parameters:\n  config:\n    trian: {}\n", 3, "parameters.config.trian", "train"),
        ("parameters:\n  config:\n    train:\n      stepz: 1\n", 4, "parameters.config.train.stepz", "steps"),
        (
            "parameters:\n  config:\n    train:\n      query_mix:\n        imagee: 1\n",
            5,
            "parameters.config.train.query_mix.imagee",
            "image",
        ),
        (
            "parameters:\n  config:\n    gate:\n      policy:\n        flors: {}\n",
            5,
            "parameters.config.gate.policy.flors",
            "floors",
        ),
    ],
)
def test_unknown_keys_at_every_level(tmp_path: Path, text: str, line: int, key: str, near: str) -> None:
    told = complaint(tmp_path, text)
    assert f"line {line}: `{key}` unknown key; did you mean `{near}`?" in told
    # Not also what another arm of a union would have wanted.
    assert "has 1 mistake" in told
    assert told.count("line ") == 1
    assert "recipe.yaml" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parameters: {config: {train: {steps: 0}}}", "greater than or equal to 1"),
        ("parameters: {config: {train: {steps: many}}}", "valid integer"),
        ("parameters: {config: {catalog: {split: {test_frac: 1.5}}}}", "less than or equal to 1"),
        ("parameters: {config: {catalog: {source: folder}}}", "catalog.path is needed"),
        (
            "parameters: {config: {gate: {policy: 3}}}",
            "`parameters.config.gate.policy` got 3, but it should be a valid",
        ),
        ("parameters: {config: {serving: {port: 70000}}}", "less than or equal to 65535"),
        ("parameters: {config: 3}", "config"),
        ("steps: [gate]", "must be a mapping"),
    ],
)
def test_values_out_of_bounds(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_a_section_cannot_be_overridden_in_a_step(tmp_path: Path) -> None:
    told = complaint(tmp_path, "steps:\n  train_model:\n    parameters:\n      train: {steps: 1}\n")
    assert "put the value under `parameters.config`" in told


def test_all_mistakes_are_told_at_once_in_order(tmp_path: Path) -> None:
    told = complaint(tmp_path, "parameters:\n  config:\n    train: {stepz: 1}\n    model: {poolng: mean}\nstps: {}\n")
    assert "has 3 mistakes" in told
    assert told.index("line 3") < told.index("line 4") < told.index("line 5")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a: [1,", "not YAML"), ("- 1\n", "not a mapping"), ("steps: {}\nsteps: {}\n", "given twice")],
)
def test_files_that_are_no_recipes(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in complaint(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        check_recipe(tmp_path / "no.yaml", SCHEMA)
    assert str(tmp_path / "no.yaml") in str(caught.value)


def test_lines_point_at_the_key(tmp_path: Path) -> None:
    _, lines = read_yaml(recipe(tmp_path, "a:\n  b:\n    - x\n    - y\nc: 1\n"))
    assert lines == {("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1): 4, ("c",): 5}


@pytest.mark.parametrize(
    "path", sorted((RECIPES_FOLDER).glob("*_*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_every_shipped_recipe_fits(path: Path) -> None:
    import pipelines

    check_recipe(path, getattr(pipelines, path.parent.name).recipe_schema())


def test_every_policy_a_recipe_names_exists() -> None:
    for path in sorted((RECIPES_FOLDER / "train_moon").glob("*.yaml")):
        policy = yaml.safe_load(path.read_text())["parameters"]["config"]["gate"]["policy"]
        assert (RECIPES_FOLDER.parent / policy).is_file(), path


def test_the_tree_describes_every_field() -> None:
    def undescribed(model: type, at: str) -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and hasattr(inner, "model_fields"):
                found += undescribed(inner, f"{at}.{name}")
            elif not field.description and name not in ("source",):
                found.append(f"{at}.{name}")
        return found

    assert undescribed(MoonConfig, "config") == []
