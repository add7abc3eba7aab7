"""Trained with crops, to be served without: distillation towards the vectors with them, and crops dropped at random."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from models.config import ModelConfig
from models.encoder import MoonEncoder
from models.losses import distillation
from models.moon import MoonModel
from models.tokens import TokenType
from models.training import train
from models.training.chunks import run_step
from models.training.data import TrainSet
from models.training.objective import Encoded, Objective
from models.training.train_batch import TrainBatch, View
from tests.models import shop
from tests.models.naive_step import naive_step
from tests.models.test_pairs import NO_CHANGE, _dataset


def _units(*shape: int, seed: int = 0) -> torch.Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(made, dim=1)


def test_the_loss_is_one_less_the_cosine_of_each_prefix() -> None:
    student, teacher = _units(5, 8), _units(5, 8, seed=1)
    expected = torch.stack(
        [1 - F.cosine_similarity(student[:, :size], teacher[:, :size], dim=1).mean() for size in (4, 8)]
    ).mean()
    torch.testing.assert_close(distillation(student, teacher, (4, 8)).double(), expected, rtol=1e-5, atol=1e-6)
    assert float(distillation(student, student, (4, 8))) == pytest.approx(0.0, abs=1e-6)
    assert float(distillation(student, -student, (8,))) == pytest.approx(2.0, abs=1e-6)


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = _units(3, 8).requires_grad_(), _units(3, 8, seed=1).requires_grad_()
    distillation(student, teacher, (8,)).backward()
    assert teacher.grad is None
    assert student.grad is not None
    # Along the sphere: what would only change the length is taken out.
    own, target = student.detach(), teacher.detach()
    expected = -(target - (own * target).sum(dim=1, keepdim=True) * own) / 3
    torch.testing.assert_close(student.grad, expected, rtol=1e-5, atol=1e-6)


def test_without_an_item_it_is_zero_with_a_gradient() -> None:
    nothing = torch.zeros((0, 8), requires_grad=True)
    loss = distillation(nothing, nothing, (8,))
    loss.backward()
    assert float(loss.detach()) == 0.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distilled")


def _set(place: Path, name: str, crops: str = "both", **changes: object) -> TrainSet:
    catalog = shop.make_shop(place / "data")
    return _dataset(catalog, place / name, _model(crops), batch_size=8, **changes)


def _model(crops: str = "both") -> ModelConfig:
    return shop.default_model(crops=crops, matryoshka_dims=[16])


def _objective(dataset: TrainSet, crops: str = "both", **changes: object) -> Objective:
    model = _model(crops)
    moon = MoonModel.seeded(model, dataset.processor.tokenizer.get_vocab_size(), seed=1)
    objective = Objective(moon, model, shop.tiny_train(**changes)).train()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in objective.parameters():
            if not parameter.any():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return objective


def _gradients(objective: Objective) -> Mapping[str, torch.Tensor]:
    return {name: one.grad.clone() for name, one in objective.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("crops", ["both", "products", "queries", "none"])
def test_only_what_has_a_crop_is_shown_without_it(place: Path, crops: str) -> None:
    batch = _set(place, f"rows-{crops}", crops, distill_crops=1.0)[0]
    for whole, plain, rows in (
        (View.QUERIES, View.PLAIN_QUERIES, batch.plain_query_rows),
        (View.PRODUCTS, View.PLAIN_PRODUCTS, batch.plain_product_rows),
    ):
        view = batch.views[whole]
        with_crop = (view.types_BL == TokenType.CROP).any(dim=1).nonzero().flatten()
        assert torch.equal(rows, with_crop)
        assert (plain in batch.views) == bool(len(rows))
        if not len(rows):
            continue
        shown = batch.views[plain]
        for place_in, row in enumerate(rows.tolist()):
            left = [kind for kind in view.types_BL[row].tolist() if kind not in (TokenType.CROP, TokenType.OTHER)]
            types = shown.types_BL[place_in].tolist()
            assert [k for k in types if k not in (TokenType.OTHER, TokenType.PAD)] == [k for k in left if k]
            for kind in (TokenType.TITLE, TokenType.CATEGORY, TokenType.ATTRIBUTE):
                own_ids = shown.ids_BL[place_in][shown.types_BL[place_in] == kind]
                assert torch.equal(own_ids, view.ids_BL[row][view.types_BL[row] == kind])
            slots = view.slot_picture_S[view.slot_row_S == row]
            own = shown.slot_picture_S[shown.slot_row_S == place_in]
            # The very pictures of the batch, originals of it alone.
            assert torch.equal(own, slots[: len(slots) // 2])
    sides = {"both": 2, "products": 1, "queries": 1, "none": 0}[crops]
    assert sum(len(rows) > 0 for rows in (batch.plain_query_rows, batch.plain_product_rows)) == sides


def test_weight_zero_is_exactly_the_old_step(place: Path) -> None:
    dataset = _set(place, "zero", distill_crops=0.0)
    batch, objective = dataset[0], _objective(dataset)
    assert set(batch.views) == {View.QUERIES, View.PRODUCTS, View.IMAGES, View.WORDS, View.TEXTS}
    step = run_step(objective, batch, None)
    assert "loss/distillation" not in step.report
    weighted = _set(place, "weighted", distill_crops=2.0)[0]
    # The same draws: products, pairs, hidden fields, views and pixels.
    for view, one in batch.views.items():
        assert torch.equal(one.ids_BL, weighted.views[view].ids_BL)
        assert torch.equal(one.slot_picture_S, weighted.views[view].slot_picture_S)
    assert torch.equal(batch.pixels_NCHW, weighted.pixels_NCHW)


def test_the_step_adds_the_weighted_loss_and_nothing_else(place: Path) -> None:
    dataset = _set(place, "added", distill_crops=2.0)
    batch = dataset[0]
    # Experts see more tokens with the plain views, so their losses are left out of the comparison.
    loss, report = naive_step(_objective(dataset, distill_crops=2.0), batch)
    _, before = naive_step(_objective(dataset), batch)
    for name in ("retrieval", "alignment", "labels"):
        assert torch.equal(report[f"loss/{name}"], before[f"loss/{name}"])
    parts = [value for name, value in report.items() if name.startswith("loss/")]
    torch.testing.assert_close(loss.detach(), torch.stack([one.float() for one in parts]).sum())
    objective = _objective(dataset, distill_crops=2.0)
    pictures = objective.pictures(batch)
    made = {view: objective.encode(one, pictures) for view, one in batch.views.items()}
    student = torch.cat([made[View.PLAIN_QUERIES], made[View.PLAIN_PRODUCTS]])
    teacher = torch.cat([made[View.QUERIES][batch.plain_query_rows], made[View.PRODUCTS][batch.plain_product_rows]])
    cosines = [F.cosine_similarity(student[:, :size], teacher[:, :size], dim=1) for size in (16, 48)]
    expected = 2.0 * (1 - torch.stack(cosines)).mean()
    torch.testing.assert_close(report["loss/distillation"], expected.detach(), rtol=1e-4, atol=1e-5)


def test_the_distilled_loss_moves_the_student_alone(place: Path) -> None:
    dataset = _set(place, "student", distill_crops=1.0)
    batch, objective = dataset[0], _objective(dataset, distill_crops=1.0)
    pictures = objective.pictures(batch)
    vectors = {view: objective.encode(one, pictures).detach().requires_grad_() for view, one in batch.views.items()}
    (objective._distillation(batch, vectors)).backward()
    assert {view for view, one in vectors.items() if one.grad is not None and bool(one.grad.any())} == {
        View.PLAIN_QUERIES,
        View.PLAIN_PRODUCTS,
    }


def test_in_chunks_it_is_the_whole_batch(place: Path) -> None:
    dataset = _set(place, "chunks", distill_crops=1.0)
    batch = dataset[0]
    found = []
    for chunk_tokens in (None, 128):
        objective = _objective(dataset, distill_crops=1.0)
        step = run_step(objective, batch, chunk_tokens)
        step.backward(step.loss)
        found.append((step.loss.detach(), step.report["loss/distillation"], _gradients(objective)))
    (loss, part, whole), (other_loss, other_part, chunked) = found
    torch.testing.assert_close(other_loss, loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other_part, part, rtol=1e-5, atol=1e-5)
    assert whole.keys() == chunked.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(chunked[name], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max() + 1))


def test_a_batch_without_crops_has_nothing_to_distil(place: Path) -> None:
    dataset = _set(place, "nothing", "none", distill_crops=1.0)
    objective = _objective(dataset, "none", distill_crops=1.0)
    pictures = objective.pictures(dataset[0])
    made = {view: objective.encode(one, pictures) for view, one in dataset[0].views.items()}
    _, report = objective.loss(dataset[0], Encoded(made, objective.model.take_stats()))
    assert float(report["loss/distillation"]) == 0.0


def test_dropping_every_crop_shows_none_and_dropping_half_some(place: Path) -> None:
    still: dict[str, object] = {"augment": NO_CHANGE}
    none = [_set(place, "none", "none", **still)[number] for number in range(2)]

    def dropped(share: float) -> list[TrainBatch]:
        dataset = _set(place, f"dropped-{share}", **still, dropout={"crops": share})
        return [dataset[number] for number in range(2)]

    def has_crop(batch: TrainBatch, view: View) -> torch.Tensor:
        return (batch.views[view].types_BL == TokenType.CROP).any(dim=1)

    for view in (View.QUERIES, View.PRODUCTS, View.IMAGES):
        assert not any(has_crop(batch, view).any() for batch in dropped(1.0))
        some = torch.cat([has_crop(batch, view) for batch in dropped(0.5)])
        every = torch.cat([has_crop(batch, view) for batch in dropped(0.0)])
        assert 0 < int(some.sum()) < int(every.sum())
    # Squares that no sequence shows are not made.
    assert all(
        len(batch.pixels_NCHW) <= len(other.pixels_NCHW) * 2 for batch, other in zip(dropped(1.0), none, strict=True)
    )
    shown = {int(one) for batch in dropped(1.0)[:1] for view in batch.views.values() for one in view.slot_picture_S}
    assert shown == set(range(len(dropped(1.0)[0].pixels_NCHW)))


def test_a_short_training_draws_the_two_together(tmp_path: Path) -> None:
    """A few steps of distillation alone bring the vectors without crops nearer to those with."""
    catalog = shop.make_shop(tmp_path / "data")
    items = list(catalog.items())
    found = {}
    for weight in (0.0, 20.0):
        out = tmp_path / f"model-{weight}"
        record = train(
            catalog,
            shop.all_train(catalog),
            model=_model(),
            train=shop.tiny_train(steps=12, batch_size=8, distill_crops=weight, num_threads=1),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / f"work-{weight}",
            out_dir=out,
        )
        assert record.lineage["crops"] == "both"
        assert ("loss/distillation" in record.final) == bool(weight)
        whole, plain = (
            MoonEncoder.load(out, device="cpu", crops=crops).embed_products(items) for crops in (None, "none")
        )
        found[weight] = float((whole * plain).sum(axis=1).mean())
    assert found[20.0] > found[0.0]
