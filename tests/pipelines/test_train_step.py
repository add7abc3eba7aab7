"""Which working folder a training gets, and what it shares with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog import Catalog, SplitConfig
from models.config import ModelConfig, TrainConfig
from models.regions import RegionsConfig
from models.training import TrainingRecord
from steps import train_model as module
from tests.models import shop
from validation.config import BenchmarkConfig


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each training was asked for; none is made."""
    seen: list[dict[str, Any]] = []

    def fit(catalog: Catalog, splits: object, **settings: Any) -> TrainingRecord:
        seen.append(settings)
        return TrainingRecord("d", "", 1, 0, 1.0, 1.0, 0, 0, {}, {}, {})

    monkeypatch.setenv("MOON_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(module, "fit", fit)
    monkeypatch.setattr(module, "_validation_score", lambda *_: None)
    return seen


def _run(catalog: Catalog, **changes: Any) -> None:
    module.train_model.entrypoint(
        catalog,
        None,
        SplitConfig(),
        RegionsConfig(),
        ModelConfig(),
        TrainConfig.model_validate(changes),
        BenchmarkConfig(),
    )


def test_a_training_goes_on_under_settings_that_decide_no_weight(tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    catalog = shop.make_shop(tmp_path / "shop")
    _run(catalog)
    _run(catalog, num_workers=2, num_threads=1, log_every_steps=9, checkpoint_every_steps=9, max_seconds=60.0)
    _run(catalog, seed=2)
    first, other, seeded = asked
    assert first["work_dir"] == other["work_dir"] != seeded["work_dir"]
    # What a frozen tower saw is any training's.
    assert first["features_dir"] == seeded["features_dir"]
    assert first["features_dir"].parent == tmp_path / "work" / "features"
