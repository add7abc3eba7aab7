"""The configuration tree is frozen, and survives the way through YAML and JSON."""

from __future__ import annotations

import json

import pytest
import yaml
from pydantic import ValidationError

from moon.config import MoonConfig, PromoteConfig


def test_defaults_survive_yaml_and_json() -> None:
    tree = MoonConfig()
    assert MoonConfig.model_validate(yaml.safe_load(yaml.safe_dump(tree.model_dump(mode="json")))) == tree
    assert MoonConfig.model_validate(json.loads(tree.model_dump_json())) == tree


def test_sections_are_frozen() -> None:
    with pytest.raises(ValidationError):
        MoonConfig().train.steps = 3  # type: ignore[misc]


def test_the_demo_recipe_is_the_default_tree() -> None:
    from moon.recipes import RECIPES_FOLDER

    written = yaml.safe_load((RECIPES_FOLDER / "train_moon" / "demo.yaml").read_text())["parameters"]["config"]
    assert MoonConfig.model_validate(written) == MoonConfig()


def test_promotion_wants_near_equality_by_default() -> None:
    assert PromoteConfig().min_cosine >= 0.999
