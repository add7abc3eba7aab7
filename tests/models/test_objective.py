"""The objective and the schedule: one batch can be learnt by heart, masks hold, a broken loss stops the run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from catalog import ModelError
from models.config import AugmentConfig
from models.moon import MoonModel
from models.negatives import not_negative
from models.training import train
from models.training.augment import augment
from models.training.module import MoonModule
from models.training.objective import Objective
from models.training.schedule import lr_factor
from models.training.train_batch import View
from tests.models import shop
from tests.models.mean_info_nce import info_nce
from tests.models.naive_step import naive_step
from tests.models.test_pairs import _dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("shop")
    return _dataset(shop.make_shop(folder / "data"), folder / "work", batch_size=8)


def _objective(dataset, **changes: object) -> Objective:  # type: ignore[no-untyped-def]
    model = shop.tiny_model(matryoshka_dims=[8])
    vocab = dataset.processor.tokenizer.get_vocab_size()
    return Objective(MoonModel.seeded(model, vocab, seed=1), model, shop.tiny_train(**changes)).train()


def test_one_batch_can_be_learnt_by_heart(dataset) -> None:  # type: ignore[no-untyped-def]
    objective, batch = _objective(dataset), dataset[0]
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    first = None
    for _ in range(60):
        loss, report = naive_step(objective, batch)
        first = first if first is not None else {name: float(value) for name, value in report.items()}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first is not None
    assert float(report["loss/retrieval"]) < 0.2 * first["loss/retrieval"]
    assert float(report["loss/labels"]) < 0.2 * first["loss/labels"]
    assert float(report["loss/alignment"]) < 0.6 * first["loss/alignment"]
    assert float(report["batch/recall@1"]) == 1.0


def test_every_weight_is_reached(dataset) -> None:  # type: ignore[no-untyped-def]
    objective = _objective(dataset)
    loss, _ = naive_step(objective, dataset[0])
    loss.backward()
    # B of a low-rank change and W_w of the word residual start at zero, so what comes before them has no gradient in
    # the very first step; everything else has one.
    silent = {name for name, p in objective.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0.0}
    late = (".w_in", *(f"head.residuals.words.{name}" for name in ("norm.weight", "norm.bias", "gate")))
    assert all(name.endswith(late) for name in silent), silent


def test_masked_products_are_no_negatives(dataset) -> None:  # type: ignore[no-untyped-def]
    objective = _objective(dataset, symmetric=False, similarity_guard=None, alignment_weight=0.0, label_weight=0.0)
    objective.dims = objective.dims[-1:]
    batch = dataset[1]
    with torch.no_grad():
        _, report = naive_step(objective, batch)
        pictures = objective.pictures(batch)
        queries, products = (objective.model(batch.views[view], pictures) for view in (View.QUERIES, View.PRODUCTS))
        logits = queries @ products.T * objective.temperature.scale
        eye = torch.eye(len(logits), dtype=torch.bool)
        blocked = not_negative(batch.query_codes, batch.product_codes)
        expected = info_nce(logits, eye, ~(blocked | eye))
        everything = info_nce(logits, eye, ~eye)
    assert float(report["loss/retrieval"]) == pytest.approx(float(expected), abs=1e-5)
    assert float(everything) > float(expected)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = shop.make_shop(tmp_path / "data")
    whole = Objective.loss
    at_fault: list[str] = []

    def poisoned(self: Objective, batch, encoded):  # type: ignore[no-untyped-def]
        loss, report = whole(self, batch, encoded)
        if batch.step == 3:
            at_fault.extend(batch.product_ids)
            return loss * math.nan, report | {"loss/retrieval": loss.detach() * math.nan}
        return loss, report

    monkeypatch.setattr(Objective, "loss", poisoned)
    with pytest.raises(ModelError, match=r"not finite at step 3") as caught:
        train(
            catalog,
            shop.all_train(catalog),
            model=shop.tiny_model(),
            train=shop.tiny_train(),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / "work",
            out_dir=tmp_path / "model",
        )
    assert "loss/retrieval" in caught.value.got
    assert caught.value.where.removeprefix("products ").split(", ") == at_fault
    assert len(at_fault) < len(catalog.products)
    assert torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not (tmp_path / "model").exists()


def test_gradients_that_are_not_finite_stop_the_run_before_the_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = shop.make_shop(tmp_path / "data")
    whole = Objective.loss
    at_fault: list[str] = []

    def poisoned(self: Objective, batch, encoded):  # type: ignore[no-untyped-def]
        loss, report = whole(self, batch, encoded)
        if batch.step == 3:
            at_fault.extend(batch.product_ids)
            # sqrt(0 w) is 0, and its gradient 0 / 0.
            loss = loss + (0.0 * self.model.head.project.weight.sum()).sqrt()
        return loss, report

    monkeypatch.setattr(Objective, "loss", poisoned)
    with pytest.raises(ModelError, match=r"not finite at step 3; the checkpoint of step 3 was kept") as caught:
        train(
            catalog,
            shop.all_train(catalog),
            model=shop.tiny_model(),
            train=shop.tiny_train(batch_size=4, checkpoint_every_steps=1),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / "work",
            out_dir=tmp_path / "model",
        )
    assert caught.value.where.removeprefix("products ").split(", ") == at_fault
    assert caught.value.got == "gradient norm nan"
    kept = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 3
    assert all(bool(torch.isfinite(value).all()) for value in kept["objective"].values())


def test_the_norm_before_clipping_is_logged(dataset, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    objective = _objective(dataset)
    loss, _ = naive_step(objective, dataset[0])
    loss.backward()
    gradients = [p.grad for p in objective.parameters() if p.grad is not None]
    expected = math.sqrt(sum(float(one.double().square().sum()) for one in gradients))
    objective.zero_grad()
    module = MoonModule(objective, shop.tiny_train(clip_norm=0.5), tmp_path, "fingerprint")
    module.backward(module.training_step(dataset[0], 0))
    module.configure_gradient_clipping(torch.optim.SGD(objective.parameters()))
    assert module.last_report["grad_norm"] == pytest.approx(expected, rel=1e-4)
    assert expected > 0.5
    clipped = torch.cat([p.grad.flatten() for p in objective.parameters() if p.grad is not None])
    assert float(clipped.norm()) == pytest.approx(0.5, rel=1e-4)


def test_both_temperatures_are_logged(dataset) -> None:  # type: ignore[no-untyped-def]
    objective = _objective(dataset, temperature=0.07)
    with torch.no_grad():
        for one in objective.label_temperature.parameters():
            one.add_(math.log(2.0))
        _, report = naive_step(objective, dataset[0])
        _, without = naive_step(_objective(dataset, label_weight=0.0), dataset[0])
    assert float(report["temperature"]) == pytest.approx(0.07)
    assert float(report["label_temperature"]) == pytest.approx(0.035)
    assert "label_temperature" not in without


def test_a_weight_that_is_not_finite_is_not_checkpointed(dataset, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    objective = _objective(dataset)
    module = MoonModule(objective, shop.tiny_train(), tmp_path, "fingerprint")
    with torch.no_grad():
        objective.model.head.project.weight[0, 0] = math.inf
    with pytest.raises(ModelError, match="weight is not finite"):
        module.checkpoint()
    assert not list(tmp_path.iterdir())


def test_the_learning_rate_rises_and_falls() -> None:
    assert lr_factor(0.0, 0.1) == 0.0
    assert lr_factor(0.05, 0.1) == pytest.approx(0.5)
    assert lr_factor(0.1, 0.1) == pytest.approx(1.0)
    assert lr_factor(0.55, 0.1) == pytest.approx(0.5)
    assert lr_factor(1.0, 0.1) == pytest.approx(0.0)
    assert lr_factor(1.3, 0.0) == pytest.approx(0.0)


def test_augmentation_is_decided_by_its_generator() -> None:
    pictures = torch.rand(4, 3, 16, 16) * 2 - 1
    strong = torch.tensor([False, False, True, True])

    def drawn(seed: int, config: AugmentConfig = AugmentConfig()) -> torch.Tensor:
        return augment(pictures, strong, config, torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert float(drawn(1).abs().max()) <= 1.0
    still = AugmentConfig(min_area_frac=1.0, flip=0.0, brightness=0.0, contrast=0.0)
    assert torch.allclose(drawn(1, still)[:2], pictures[:2], atol=1e-5)
    assert not torch.allclose(drawn(1, still)[2:], pictures[2:], atol=1e-2)
    mirrored = AugmentConfig(min_area_frac=1.0, flip=1.0, brightness=0.0, contrast=0.0)
    assert torch.allclose(drawn(1, mirrored)[:2], pictures[:2].flip(-1), atol=1e-5)
