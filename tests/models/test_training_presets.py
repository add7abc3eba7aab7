"""Presets do what they say; early stop and moving average decide what is shipped."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from catalog import Catalog, Embedder, Signal
from models.config import ModelConfig
from models.devices import choose_device
from models.encoder import MoonEncoder
from models.pairs import build_pairs
from models.training import TrainingRecord, train
from models.training.announce import say_whose_weights_count
from models.training.module import MoonModule
from models.training.presets import ACTIVE, WAIT, WARMUP
from tests.models import shop

WEIGHT = "head.project.weight"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return shop.make_shop(tmp_path_factory.mktemp("shop"))


def _train(
    catalog: Catalog, root: Path, score: object = None, model: ModelConfig | None = None, **changes: object
) -> TrainingRecord:
    return train(
        catalog,
        shop.all_train(catalog),
        model=model or shop.tiny_model(),
        train=shop.tiny_train(**changes),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=root / "work",
        out_dir=root / "model",
        score=score,  # type: ignore[arg-type]
    )


def test_fast_dev_run_makes_three_steps_and_says_so(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="models"):
        record = _train(
            _weighing(catalog, {"mug-red-t": 3.0}),
            tmp_path,
            lambda _: 0.5,
            steps=500,
            preset="fast_dev_run",
            stop={"eval_every_steps": 100},
            device="auto",
        )
    assert record.steps == 3
    assert record.scores == [[3, 0.5]]
    assert "fast_dev_run: 3 steps instead of 500 and a tiny evaluation" in caplog.text
    # What a person is told before any training, and after it.
    assert caplog.text.count("pairs whose own weight is not used: 1,") == 1
    _, why = choose_device("auto")
    for told in (why, "3 steps x 6 pairs = 18 pairs", "a step computes", "achieved: ", "left out: "):
        assert told in caplog.text, told
    assert record.costs["tokens_per_step"] > 0
    assert record.costs["peak_bytes"] > 1e7


def _told_of_weights(catalog: Catalog, caplog: pytest.LogCaptureFixture, **changes: object) -> list[tuple[int, str]]:
    config = shop.tiny_train(**changes)
    table = build_pairs(catalog, shop.all_train(catalog), config)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="models"):
        say_whose_weights_count(table, config)
    return [(one.levelno, one.getMessage()) for one in caplog.records]


def _weighing(catalog: Catalog, weights: Mapping[str, float], signal: Signal = Signal.CART) -> Catalog:
    changes = {key: {"weight": weight, "signal": signal} for key, weight in weights.items()}
    queries = tuple(one.model_copy(update=changes.get(one.query_id, {})) for one in catalog.queries)
    return replace(catalog, queries=queries)


def test_a_row_is_told_when_its_own_weight_does_not_count(catalog: Catalog, caplog: pytest.LogCaptureFixture) -> None:
    # A cart counts 0.5 by default: one row says so itself, the other wants more.
    rows = _weighing(catalog, {"mug-red-p": 0.5, "mug-red-t": 3.0})
    ((level, told),) = _told_of_weights(rows, caplog)
    assert level == logging.WARNING
    assert "pairs whose own weight is not used: 2, of these weighed otherwise by their signal: 1;" in told
    ((level, told),) = _told_of_weights(_weighing(catalog, {"mug-red-p": 0.5}), caplog)
    assert level == logging.INFO
    assert "pairs whose own weight is not used: 1, of these weighed otherwise by their signal: 0;" in told
    assert not _told_of_weights(catalog, caplog)
    assert not _told_of_weights(rows, caplog, signals=None)


@pytest.mark.parametrize("model", [shop.tiny_model(), shop.default_model()], ids=["tests' own", "default"])
def test_one_batch_is_learnt_by_heart(catalog: Catalog, tmp_path: Path, model: ModelConfig) -> None:
    record = _train(catalog, tmp_path, model=model, steps=80, preset="overfit_one_batch", log_every_steps=80)
    assert record.final["batch/recall@1"] == 1.0


def test_profile_writes_a_table_and_a_trace(catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="models"):
        record = _train(catalog, tmp_path, steps=500, preset="profile")
    assert record.steps == WAIT + WARMUP + ACTIVE
    table, trace = tmp_path / "work" / "profile" / "table.txt", tmp_path / "work" / "profile" / "trace.json"
    assert "Self CPU" in table.read_text()
    assert "aten::" in table.read_text()
    assert json.loads(trace.read_text())["traceEvents"]
    assert str(trace) in caplog.text
    # Its own checkpoint leaves nothing to profile.
    table.unlink()
    with caplog.at_level(logging.INFO, logger="models"):
        again = _train(catalog, tmp_path, steps=500, preset="profile")
    assert (again.resumed_from_step, again.steps) == (0, record.steps)
    assert "aten::" in table.read_text()
    assert "profile: starts anew" in caplog.text


def test_a_profile_of_a_short_training_is_as_long_as_any(catalog: Catalog, tmp_path: Path) -> None:
    record = _train(catalog, tmp_path, steps=2, preset="profile")
    assert record.steps == WAIT + WARMUP + ACTIVE
    assert "aten::" in (tmp_path / "work" / "profile" / "table.txt").read_text()


def test_options_without_effect_are_told(catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bare = replace(catalog, products=tuple(one.model_copy(update={"category": ()}) for one in catalog.products))
    settings: dict[str, object] = {"steps": 1, "modality": {"enabled": True}, "hard_negatives_per_query": 2}
    with caplog.at_level(logging.WARNING, logger="models"):
        _train(bare, tmp_path / "bare", model=shop.tiny_model(moe={"layers": []}), **settings)
    assert "train.modality has no effect: the model has no guided experts" in caplog.text
    assert "train.hard_negatives_per_query has no effect: no product" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="models"):
        _train(catalog, tmp_path / "whole", **settings)
    assert "has no effect" not in caplog.text


def test_the_best_judged_weights_are_shipped_and_stay_so(catalog: Catalog, tmp_path: Path) -> None:
    given, kept = [0.1, 0.9, 0.2, 0.3], []

    def score(embedder: Embedder) -> float:
        assert isinstance(embedder, MoonEncoder)
        kept.append({name: one.clone() for name, one in embedder.model.state_dict().items()})
        return given[len(kept) - 1] if len(kept) <= len(given) else 0.7

    settings: dict[str, object] = {"steps": 30, "stop": {"eval_every_steps": 1, "patience": 2}}
    record = _train(catalog, tmp_path, score, **settings)
    assert record.steps == 4
    assert record.scores == [[1, 0.1], [2, 0.9], [3, 0.2], [4, 0.3]]
    assert record.shipped == "best of 4 judged, step 2"
    assert record.score == 0.7
    shipped = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(shipped[name], one) for name, one in kept[1].items())
    assert not torch.equal(shipped[WEIGHT], kept[3][WEIGHT])
    # Killed after the last step and before the folder was written, it is not trained on.
    again = _train(catalog, tmp_path, score, **settings)
    assert again.steps == again.resumed_from_step == 4
    assert again.digest == record.digest


def test_the_moving_average_is_shipped(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    end = MoonModule.on_train_batch_end

    def watch(self: MoonModule, *args: object) -> None:
        seen.append(self.objective.model.head.project.weight.detach().clone())
        end(self, *args)  # type: ignore[arg-type]

    start = MoonModule.on_train_start

    def begin(self: MoonModule) -> None:
        seen.append(self.objective.model.head.project.weight.detach().clone())
        start(self)

    monkeypatch.setattr(MoonModule, "on_train_batch_end", watch)
    monkeypatch.setattr(MoonModule, "on_train_start", begin)
    record = _train(catalog, tmp_path, steps=4, ema_decay=0.25)
    average = seen[0]
    for number, weight in enumerate(seen[1:], start=1):
        keep = min(0.25, number / (number + 9))
        average = keep * average + (1 - keep) * weight
    shipped = load_file(tmp_path / "model" / "model.safetensors")[WEIGHT]
    assert torch.allclose(shipped, average, atol=1e-6)
    assert not torch.allclose(shipped, seen[-1], atol=1e-5)
    assert record.shipped == "moving average, decay 0.25"
