"""Which data, which folds, which configuration: everything that decides a run, under one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from benchmarks.ablation.arms import ARMS, Arm, deep
from benchmarks.command import read_config
from catalog import ConfigError, Section, SplitConfig
from models.config import Crops, ModelConfig, TrainConfig
from models.regions import RegionsConfig
from moon.config import MoonConfig
from validation.config import BenchmarkConfig, DataChecksConfig

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent

_CHANGES_NOTHING = frozenset({"num_workers", "num_threads", "checkpoint_every_steps", "log_every_steps", "decode"})
"""Keys of the training's section that no result depends on."""

LR_VAL_FRAC = 0.2
"""Share of groups that learning rates are judged on where the folds leave no validation side."""


@dataclass(frozen=True)
class Protocol:
    """How the runs on one data set are laid out."""

    data: str
    source: Literal["demo", "folder"]
    recipe: str
    """Used where none is named."""
    arms: tuple[str, ...]
    """What `all` means."""
    seeds: tuple[int, ...]
    num_folds: int
    """1: the recipe's own split, seeds differ in training alone. Above: seed s is judged on fold s - 1."""

    def fold_of(self, seed: int) -> int | None:
        """The fold that a seed is judged on; None without folds.

        Raises:
            ConfigError: More seeds than folds.
        """
        if self.num_folds == 1:
            return None
        if not 1 <= seed <= self.num_folds:
            raise ConfigError(
                "a seed is a fold here",
                where=f"--data {self.data}",
                got=f"seed {seed}",
                allowed=f"1 to {self.num_folds}: seed s holds out fold s - 1",
            )
        return seed - 1


PROTOCOLS: dict[str, Protocol] = {
    "demo": Protocol(
        "demo",
        "demo",
        "benchmarks/ablation/demo_seed11.yaml",
        arms=tuple(arm.name for arm in ARMS),
        seeds=(1, 2, 3),
        num_folds=1,
    ),
    "luma": Protocol(
        "luma",
        "folder",
        "configs/train_moon/laptop.yaml",
        arms=(
            "full",
            "dual",
            "minus_moe",
            "minus_crop",
            "minus_negatives",
            "plus_hard_negatives",
            "minus_vision_residual",
            "plus_vision_residual",
        ),
        seeds=(1, 2, 3, 4, 5),
        num_folds=5,
    ),
}


class Setup(Section):
    """Everything that decides a run's scores, but for the data and the code."""

    checks: DataChecksConfig
    split: SplitConfig
    regions: RegionsConfig
    model: ModelConfig
    train: TrainConfig
    benchmark: BenchmarkConfig
    boxes: Literal["found", "true"] = Field(
        default="found",
        description="true: the core region is the catalogue's true box, where it has one: what no detector can pass. "
        "Of this benchmark alone.",
    )
    served_crops: Crops | None = Field(default=None, description="Crops the judged model is fed; empty: as trained.")

    def plain(self) -> dict[str, Any]:
        """Plain data without the keys that change no result."""
        data = self.model_dump(mode="json")
        # Rows stand that knew one switch for both sides: what it could say is said its way, so that they still count.
        if (crops := data["model"]["crops"]) in ("both", "none"):
            del data["model"]["crops"]
            data["model"]["use_crops"] = crops == "both"
        data["train"] = {key: value for key, value in data["train"].items() if key not in _CHANGES_NOTHING}
        return data

    def digest(self, data_digest: str, new_keys: Collection[str] = ()) -> str:
        """Sixteen hexadecimal characters over the configuration and the data.

        Args:
            data_digest: Of the catalogue.
            new_keys: Left out where they stand at their default, see `new_since`.
        """
        found = flat(self.plain())
        default = flat(_default_setup().plain()) if new_keys else {}
        kept = {key: value for key, value in found.items() if key not in new_keys or value != default.get(key)}
        text = json.dumps([kept, data_digest], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_seed(self, seed: int) -> Setup:
        """Of another training seed."""
        return self.model_copy(update={"train": self.train.model_copy(update={"seed": seed})})

    def with_lr_factor(self, factor: float) -> Setup:
        """With every learning rate times `factor`."""
        rates = {"lr_vision": self.train.lr_vision * factor, "lr_text": self.train.lr_text * factor}
        return self.model_copy(update={"train": self.train.model_copy(update=rates)})


@dataclass(frozen=True)
class Recipe:
    """A recipe as a run of its pipeline would read it."""

    path: str
    """As given; relative paths are told from the project's root."""
    config: MoonConfig


def read_recipe(path: str, protocol: Protocol) -> Recipe:
    """Read and check a recipe of `train_moon`.

    Raises:
        ConfigError: It cannot be read, holds a mistake, or is one for another kind of data.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(
            "no such recipe",
            got=path,
            fix=f"name one with --recipe; the default for --data {protocol.data} is {protocol.recipe}",
        )
    config = read_config(file)
    if config.catalog.source != protocol.source:
        raise ConfigError(
            "the recipe is for other data",
            where=f"{path}: catalog.source",
            got=config.catalog.source,
            allowed=f"{protocol.source} for --data {protocol.data}",
        )
    resolved = file.resolve()
    inside = resolved.is_relative_to(PROJECT_ROOT)
    return Recipe(str(resolved.relative_to(PROJECT_ROOT)) if inside else file.name, config)


def base_setup(recipe: Recipe, protocol: Protocol, seed: int) -> Setup:
    """The recipe on the fold of `seed`, for the final judgement."""
    config, fold = recipe.config, protocol.fold_of(seed)
    split = config.catalog.split
    if fold is not None:
        size = 1.0 / protocol.num_folds
        split = split.model_copy(update={"test_frac": size, "val_frac": 0.0, "offset_frac": fold * size})
    made = Setup(
        checks=config.checks,
        split=split,
        regions=config.regions,
        model=config.model,
        train=config.train,
        benchmark=config.benchmark,
    )
    return made.with_seed(seed)


def lr_setup(recipe: Recipe, protocol: Protocol, seed: int) -> Setup:
    """The recipe for trying learning rates: judged on the validation side of the first fold, which is not trained on.

    With folds every group is held out by one of them, those of this validation side by the second: the choice of one
    number, made alike for both encoders, has seen them.

    Raises:
        ConfigError: The recipe's split has no validation side.
    """
    setup = base_setup(recipe, protocol, seed)
    if protocol.num_folds > 1:
        return setup.model_copy(update={"split": setup.split.model_copy(update={"val_frac": LR_VAL_FRAC})})
    if not setup.split.val_frac:
        raise ConfigError(
            "learning rates cannot be judged without a validation side",
            where=f"{recipe.path}: catalog.split.val_frac",
            got="0",
            fix="give the recipe a val_frac above 0",
        )
    return setup


def arm_setup(base: Setup, arm: Arm) -> Setup:
    """The recipe with the arm's changes.

    Raises:
        ConfigError: The changes do not fit into the configuration.
    """
    try:
        return Setup.model_validate(deep(base.model_dump(), arm.changes))
    except ValidationError as error:
        rows = [f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors(include_url=False)]
        raise ConfigError(
            f"arm {arm.name} does not fit this recipe", got="; ".join(rows), fix="mend the arm's changes"
        ) from None


def new_since(old: Mapping[str, Any], now: Setup) -> frozenset[str] | None:
    """Keys that did not exist when a configuration was written down, all at their default and everything else equal.

    The configuration grows while rows stand on disk. A new key at its default is no other configuration: code may have
    changed with it, as it may have without, and each row tells its commit.

    Returns:
        The new keys, perhaps none; None when the two differ in any other way.
    """
    before, after = flat(old), flat(now.plain())
    default = flat(_default_setup().plain())
    new = after.keys() - before.keys()
    same = before.keys() <= after.keys() and all(after[key] == value for key, value in before.items())
    return frozenset(new) if same and all(after[key] == default.get(key) for key in new) else None


def is_default(key: str, value: Any) -> bool:
    """Whether a key stands at its default."""
    return bool(flat(_default_setup().plain()).get(key) == value)


@cache
def _default_setup() -> Setup:
    config = MoonConfig()
    return Setup(
        checks=config.checks,
        split=config.catalog.split,
        regions=config.regions,
        model=config.model,
        train=config.train,
        benchmark=config.benchmark,
    )


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; an empty mapping stays a value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{before}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose value differs, with both; None where a key is absent."""
    left, right = flat(old), flat(new)
    return {
        key: (left.get(key), right.get(key))
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    }
