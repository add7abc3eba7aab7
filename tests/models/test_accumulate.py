"""Gradients accumulated over batches: their mean, one update, and no stop in between."""

from __future__ import annotations

import copy
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from catalog import Catalog, ModelError
from models.config import ModelConfig
from models.training import TrainingRecord, train
from models.training.data import TrainSet
from models.training.module import MoonModule
from models.training.objective import Objective
from models.training.schedule import ends_update
from models.training.signals import TrainingStoppedError
from models.training.train_batch import TrainBatch
from tests.models import shop
from tests.models.naive_step import naive_step

EACH = 3


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return shop.make_shop(tmp_path_factory.mktemp("shop"))


def _train(catalog: Catalog, root: Path, model: ModelConfig | None = None, **changes: Any) -> TrainingRecord:
    return train(
        catalog,
        shop.all_train(catalog),
        model=model or shop.tiny_model(),
        train=shop.tiny_train(**({"batch_size": 4, "accumulate_batches": EACH} | changes)),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=root / "work",
        out_dir=root / "model",
    )


class _Watched:
    """Objective and batches as they were before the first update, and its gradients and figures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.report: dict[str, float] = {}
        start, clip, end = (
            MoonModule.on_train_start,
            MoonModule.configure_gradient_clipping,
            MoonModule.on_train_batch_end,
        )

        def on_train_start(module: MoonModule) -> None:
            start(module)
            self.objective: Objective = copy.deepcopy(module.objective)
            self.dataset: TrainSet = module.trainer.train_dataloader.dataset  # type: ignore[union-attr]

        def configure_gradient_clipping(module: MoonModule, *args: Any, **kwargs: Any) -> None:
            named = module.objective.named_parameters()
            self.gradients.append({name: one.grad.clone() for name, one in named if one.grad is not None})
            clip(module, *args, **kwargs)

        def on_train_batch_end(module: MoonModule, *args: Any) -> None:
            end(module, *args)
            if self.gradients and not self.report:
                self.report = dict(module.last_report)

        monkeypatch.setattr(MoonModule, "on_train_start", on_train_start)
        monkeypatch.setattr(MoonModule, "configure_gradient_clipping", configure_gradient_clipping)
        monkeypatch.setattr(MoonModule, "on_train_batch_end", on_train_batch_end)


@pytest.mark.parametrize("chunk_tokens", [None, 150])
@pytest.mark.parametrize("name", list(shop.MODELS))
def test_an_update_has_the_mean_gradient_of_its_batches(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk_tokens: int | None
) -> None:
    watched = _Watched(monkeypatch)
    record = _train(catalog, tmp_path, shop.MODELS[name](), steps=2, chunk_tokens=chunk_tokens)
    assert record.steps == len(watched.gradients) == 2
    objective, losses = watched.objective.train(), []
    for number in range(EACH):
        loss, _ = naive_step(objective, watched.dataset[number])
        (loss / EACH).backward()
        losses.append(float(loss.detach()))
    expected = {key: one.grad for key, one in objective.named_parameters() if one.grad is not None}
    assert expected.keys() == watched.gradients[0].keys()
    for key, gradient in expected.items():
        assert torch.allclose(watched.gradients[0][key], gradient, atol=1e-5), key
    # Not the gradient of one batch, nor their sum.
    assert len(set(losses)) == EACH
    assert watched.report["loss"] == pytest.approx(sum(losses) / EACH, abs=1e-5)
    assert sum(float(one.square().sum()) for one in expected.values()) > 1e-4


def test_batches_go_on_where_the_last_update_ended(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six batches are the same six, whether an update takes one of them or three."""
    watched, seen = _Watched(monkeypatch), []
    for each in (1, EACH):
        _train(catalog, tmp_path / str(each), steps=6 // each, accumulate_batches=each)
        dataset = watched.dataset
        assert len(dataset) == 6
        assert [dataset[number].step for number in range(6)] == [number // each for number in range(6)]
        seen.append([dataset[number].product_ids for number in range(6)])
    assert seen[0] == seen[1]
    assert [ends_update(number, EACH) for number in range(6)] == [False, False, True] * 2
    assert all(ends_update(number, 1) for number in range(6))


def test_what_is_told_counts_all_batches(catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="models"):
        several = _train(catalog, tmp_path / "several", steps=2)
        one = _train(catalog, tmp_path / "one", steps=2, accumulate_batches=1)
    assert f"2 steps x {EACH} batches x 4 pairs = 24 pairs, 3.0 times over 8 products" in caplog.text
    assert f"a step: {EACH} batches, each of 4 pairs, " in caplog.text
    assert several.costs["tokens_per_step"] == EACH * one.costs["tokens_per_step"]
    assert several.costs["flops_per_step"] == EACH * one.costs["flops_per_step"]
    assert several.costs["estimated_bytes"] == one.costs["estimated_bytes"]
    assert [point["step"] for point in several.history] == [1, 2]
    assert several.samples_per_s * several.seconds == pytest.approx(24, rel=0.3)


class _Cut(BaseException):
    """Ends a training as a kill does."""


def _interrupt(monkeypatch: pytest.MonkeyPatch, at_batch: int, how: Callable[[], None]) -> None:
    step = MoonModule.training_step

    def interrupted(self: MoonModule, batch: TrainBatch, batch_idx: int) -> torch.Tensor:
        if batch_idx == at_batch:
            how()
        return step(self, batch, batch_idx)

    monkeypatch.setattr(MoonModule, "training_step", interrupted)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _cut() -> None:
    raise _Cut


@pytest.mark.parametrize(
    ("how", "error", "resumed_from"), [(_terminate, TrainingStoppedError, 4), (_cut, _Cut, 2)], ids=["SIGTERM", "kill"]
)
def test_stopped_between_two_batches_of_an_update_and_resumed_equals_uninterrupted(
    catalog: Catalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[], None],
    error: type[BaseException],
    resumed_from: int,
) -> None:
    settings: dict[str, Any] = {"negatives": {"queue_size": 8, "queue_warmup_steps": 1}, "ema_decay": 0.6}
    model = shop.tiny_model(moe={"layers": [-1], "num_experts": 3, "top_k": 2, "rank": 4, "router_noise_std": 1.0})
    whole = _train(catalog, tmp_path / "whole", model, **settings)
    with monkeypatch.context() as patch:
        # The second of the fourth update's three batches.
        _interrupt(patch, 3 * EACH + 1, how)
        with pytest.raises(error):
            _train(catalog, tmp_path / "cut", model, **settings)
    assert torch.load(tmp_path / "cut" / "work" / "checkpoint.pt", weights_only=True)["step"] == resumed_from
    torch.manual_seed(99)
    resumed = _train(catalog, tmp_path / "cut", model, **settings)
    assert resumed.resumed_from_step == resumed_from
    assert resumed.expert_choices == whole.expert_choices
    for one, two in zip(whole.history, resumed.history, strict=True):
        for figure in one.keys() - {"train/samples_per_s"}:
            assert one[figure] == pytest.approx(two[figure], abs=1e-6), (figure, one["step"])
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut")]
    assert all(torch.allclose(one, weights[1][key], atol=1e-6) for key, one in weights[0].items())


def test_gradients_that_are_not_finite_name_the_products_of_all_batches(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Objective.loss

    def finite(self: Objective, batch: TrainBatch, encoded: Any) -> Any:
        loss, report = whole(self, batch, encoded)
        # sqrt(0 w) is 0, and its gradient 0 / 0.
        return loss + (0.0 * self.model.head.project.weight.sum()).sqrt(), report

    monkeypatch.setattr(Objective, "loss", finite)
    with pytest.raises(ModelError, match="not finite at step 0") as told:
        _train(catalog, tmp_path, accumulate_batches=2)
    # Eight products, four a batch, each once an epoch.
    assert all(product.product_id in str(told.value) for product in catalog.products)
    assert "no checkpoint was written yet" in told.value.problem


def test_a_loss_that_breaks_later_tells_which_checkpoint_is_kept(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Objective.loss

    def broken(self: Objective, batch: TrainBatch, encoded: Any) -> Any:
        loss, report = whole(self, batch, encoded)
        return loss * (float("nan") if batch.step == 3 else 1.0), report

    monkeypatch.setattr(Objective, "loss", broken)
    with pytest.raises(ModelError, match="not finite at step 3; the checkpoint of step 2 was kept"):
        _train(catalog, tmp_path, accumulate_batches=1)
    assert torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)["step"] == 2
