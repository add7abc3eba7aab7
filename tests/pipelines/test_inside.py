"""Figures of what the model looks at, as a run logs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog import SplitConfig
from models.folder import write_model_folder
from models.inside.heat import HeatConfig
from models.moon import MoonModel
from models.regions import RegionStore, make_detector
from steps.inside import EXPERT_LOAD, FOLDER, NUM_PAIRS, log_expert_load, log_inside
from steps.records import ModelFolder, TrainingRun
from tests.models import shop
from tests.models.inside_models import TOKENIZER


def test_a_few_held_out_products_leave_figures_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shop.tiny_model()
    model = MoonModel.seeded(config, TOKENIZER.get_vocab_size(), 0)
    digest = write_model_folder(tmp_path / "model", model, TOKENIZER, shop.REGIONS, shop.regions().digest, {})
    logged: dict[str, Any] = {}
    monkeypatch.setattr("mlflow.log_figure", lambda figure, name: logged.setdefault(name, figure))
    monkeypatch.setattr("steps.inside.COARSE", HeatConfig(cells=2, window_cells=1))
    catalog = shop.make_shop(tmp_path / "shop")
    store = RegionStore(make_detector(shop.REGIONS).digest)
    log_inside(ModelFolder(str(tmp_path / "model"), digest), catalog, SplitConfig(test_frac=0.99, val_frac=0.0), store)
    products = {name.split("/")[1] for name in logged}
    assert len(products) == NUM_PAIRS
    assert all(name.startswith(f"{FOLDER}/") and name.endswith(".png") for name in logged)
    assert all(f"{FOLDER}/{product}/product_maps.png" in logged for product in products)


def test_the_expert_load_of_a_training_is_drawn_in_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}
    monkeypatch.setattr("mlflow.log_figure", lambda figure, name: logged.setdefault(name, figure))
    log_expert_load(TrainingRun({"expert_choices": [{"image": [30, 10], "title": [5, 15]}]}))
    assert list(logged) == [EXPERT_LOAD]
    drawn = next(axes for axes in logged[EXPERT_LOAD].axes if axes.get_images())
    assert drawn.get_images()[0].get_array().tolist() == [[75.0, 25.0], [25.0, 75.0]]
    assert [label.get_text() for label in drawn.get_yticklabels()] == ["image (40)", "title (20)"]


@pytest.mark.parametrize("record", [{}, {"expert_choices": []}], ids=["older record", "dense model"])
def test_a_training_without_choices_has_no_such_figure(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr("mlflow.log_figure", lambda figure, name: logged.append(name))
    log_expert_load(TrainingRun(record))
    assert logged == []
