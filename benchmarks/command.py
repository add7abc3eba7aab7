"""What the commands that look at one trained model have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from catalog import Catalog, ConfigError, ModelError, MoonError, Side, SplitConfig, Splits, split_catalog
from models.encoder import MoonEncoder
from moon.config import MoonConfig
from moon.recipes import RecipeSchema, check_recipe
from moon.yaml_lines import read_yaml


def run(main: Callable[..., Any]) -> None:
    """Run a command; what a user can cause ends it with its text and no traceback."""
    try:
        typer.run(main)
    except MoonError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_status) from None


def read_config(path: Path) -> MoonConfig:
    """The configuration of a recipe of `train_moon`; all defaults where it has none.

    Raises:
        ConfigError: It cannot be read, or holds a mistake.
    """
    if not path.is_file():
        raise ConfigError("no such recipe", got=str(path), fix="recipes are in configs/train_moon")
    data, _ = read_yaml(path)
    schema = RecipeSchema(top_keys=list(data), step_keys=(), parameters={"config": MoonConfig}, steps={})
    config: MoonConfig = check_recipe(path, schema).get("config", MoonConfig())
    return config


def held_out_splits(encoder: MoonEncoder, catalog: Catalog, config: MoonConfig) -> Splits:
    """The recipe's split, if the model was trained on nothing of its test side.

    Raises:
        ModelError: It was, or its folder does not tell.
    """
    splits = split_catalog(catalog, config.catalog.split)
    told = encoder.lineage.get("split")
    if told is None:
        raise ModelError(
            "the model folder does not tell which products the model was trained on",
            where=f"{encoder.name}: lineage.json",
            got=", ".join(encoder.lineage) or "nothing",
            allowed="split",
            fix="train again",
        )
    trained = split_catalog(catalog, SplitConfig.model_validate_json(told)).product_ids(Side.TRAIN)
    seen = sorted(set(trained) & set(splits.product_ids(Side.TEST)))
    if seen:
        raise ModelError(
            "the model was trained on products that it would be judged on",
            where=encoder.name,
            got=f"{len(seen)} of them: {', '.join(seen[:3])}",
            fix="name the recipe, and so the split, that the model was trained with",
        )
    return splits
