"""A step in chunks is the step of the whole batch: loss, report and every gradient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.config import ModelConfig
from models.moon import MoonModel
from models.training.chunks import Step, run_step
from models.training.data import TrainSet
from models.training.module import MoonModule
from models.training.objective import Objective
from models.training.recompute import recompute_activations, vision_blocks
from models.training.train_batch import TrainBatch
from tests.models import shop
from tests.models.naive_step import naive_step
from tests.models.test_pairs import _dataset

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> TrainSet:
    folder = tmp_path_factory.mktemp("shop")
    return _dataset(shop.make_shop(folder / "data"), folder / "work", batch_size=8)


@pytest.fixture(scope="module", params=list(shop.MODELS))
def of_either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainSet, ModelConfig]:
    """Of the pinned and of the default head and order."""
    folder = tmp_path_factory.mktemp("shop")
    model = shop.MODELS[request.param](matryoshka_dims=[8])
    return _dataset(shop.make_shop(folder / "data"), folder / "work", model, batch_size=8), model


def _objective(dataset: TrainSet, model: ModelConfig | None = None, **changes: object) -> Objective:
    model = model or shop.tiny_model(matryoshka_dims=[8])
    moon = MoonModel.seeded(model, dataset.processor.tokenizer.get_vocab_size(), seed=1)
    objective = Objective(moon, model, shop.tiny_train(**changes), max_photos=3).train()
    # Low-rank experts and residuals start at zero, and what stands before them would have no gradient to compare.
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in objective.parameters():
            if not parameter.any():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return objective


def _step(objective: Objective, batch: TrainBatch, chunk_tokens: int | None) -> tuple[Step, dict[str, torch.Tensor]]:
    objective.zero_grad()
    step = run_step(objective, batch, chunk_tokens)
    step.backward(step.loss)
    return step, {name: one.grad.clone() for name, one in objective.named_parameters() if one.grad is not None}


def _with_features(objective: Objective, batch: TrainBatch) -> TrainBatch:
    """The step as a frozen tower's kept features make it."""
    for parameter in objective.model.backbone.vision_parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        seen = objective.model.backbone.see(batch.pixels_NCHW)
    return replace(batch, pixels_NCHW=batch.pixels_NCHW[:0], seen=seen)


def _same(one: tuple[Step, dict[str, torch.Tensor]], other: tuple[Step, dict[str, torch.Tensor]]) -> None:
    assert one[0].report.keys() == other[0].report.keys()
    for name, value in one[0].report.items():
        assert float(value) == pytest.approx(float(other[0].report[name]), abs=TOLERANCE), name
    assert float(one[0].loss.detach()) == pytest.approx(float(other[0].loss.detach()), abs=TOLERANCE)
    assert torch.allclose(one[0].products, other[0].products, atol=TOLERANCE)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        assert float((gradient - other[1][name]).abs().max()) <= TOLERANCE, name


@pytest.mark.parametrize("chunk_tokens", [64, 300])
def test_chunks_of_any_size_are_the_whole_batch(of_either: tuple[TrainSet, ModelConfig], chunk_tokens: int) -> None:
    dataset, model = of_either
    objective, batch = _objective(dataset, model), dataset[0]
    whole = _step(objective, batch, None)
    chunked = _step(objective, batch, chunk_tokens)
    _same(chunked, whole)
    reached = {name for name, gradient in whole[1].items() if float(gradient.abs().max()) > 1e-7}
    # Every road is in the comparison: tower, decoder, experts, router, head, and the losses' own parameters.
    for part in ("visual.blocks.0", "language_model.layers.0", "experts.w_in", "router.weight", "head.", "temperature"):
        assert any(part in name for name in reached), part
    views, pictures = chunked[0].held
    assert float(views.drift) <= TOLERANCE
    assert float(pictures.drift) <= TOLERANCE
    if chunk_tokens == 64:
        assert len(views._chunks) > 2 * len(batch.views)
        assert len(pictures._chunks) > 4


def _warnings_of_two_steps(
    objective: Objective, dataset: TrainSet, folder: Path, caplog: pytest.LogCaptureFixture
) -> list[str]:
    caplog.clear()
    module = MoonModule(objective, shop.tiny_train(chunk_tokens=300), folder, "")
    for step in range(2):
        module.backward(module.training_step(dataset[step], step))
        module.configure_gradient_clipping(torch.optim.SGD(objective.parameters()))
    return [one.getMessage() for one in caplog.records if "second pass" in one.getMessage()]


@pytest.mark.parametrize("where", ["encode", "pictures"])
def test_a_layer_that_is_random_in_another_way_is_warned_of_once(
    dataset: TrainSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    objective = _objective(dataset)
    assert not _warnings_of_two_steps(objective, dataset, tmp_path, caplog)
    own = torch.Generator().manual_seed(3)
    owner, name = (objective, "encode") if where == "encode" else (objective.model, "see")
    whole = getattr(owner, name)

    def dropped(*args: object) -> object:
        def change(one: torch.Tensor) -> torch.Tensor:
            return one * (torch.rand(one.shape, generator=own) > 0.1)

        made = whole(*args)
        return change(made) if isinstance(made, torch.Tensor) else made.map(change)

    monkeypatch.setattr(owner, name, dropped)
    (warned,) = _warnings_of_two_steps(objective, dataset, tmp_path, caplog)
    assert "at step 0" in warned
    assert "dropout with its own generator" in warned
    # Torch's own generators are restored, and dropout that draws from them is the same twice.
    own = torch.default_generator
    assert not _warnings_of_two_steps(objective, dataset, tmp_path, caplog)


def test_drift_is_relative_to_what_is_held(dataset: TrainSet, monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = _objective(dataset), dataset[0]
    whole = objective.encode
    passes = []

    def shifted(*args: object) -> torch.Tensor:
        made = whole(*args)  # type: ignore[arg-type]
        passes.append(torch.is_grad_enabled())
        return made + 0.004 if passes[-1] else made

    monkeypatch.setattr(objective, "encode", shifted)
    step = run_step(objective, batch, 300)
    assert float(step.drift) == 0.0
    step.backward(step.loss)
    # The first pass without gradient, the second with it.
    assert set(passes) == {True, False}
    largest = max(float(one.detach().abs().max()) for one in step.held[0].vectors.values())
    assert float(step.drift) == pytest.approx(0.004 / largest, rel=1e-3)
    assert step.drift_bound == 1e-3
    assert run_step(objective, batch, None).drift_bound > 1e9
    with torch.autocast("cpu", torch.bfloat16):
        assert run_step(objective, batch, 300).drift_bound == 3e-2


def test_pictures_of_a_dual_encoder_are_chunked_by_their_tokens_too(dataset: TrainSet, tmp_path: Path) -> None:
    # Whose sequences hold no token of a picture.
    model = shop.tiny_model(fusion="late", slots=False, moe={"kind": "dense", "layers": [-1]})
    other = _dataset(shop.make_shop(tmp_path / "shop"), tmp_path / "work", model)
    moon = MoonModel.seeded(model, other.processor.tokenizer.get_vocab_size(), seed=1)
    late = Objective(moon, model, shop.tiny_train(), max_photos=3).train()
    assert not any(bool(view.picture_mask_BL.any()) for view in other[0].views.values())
    sizes = []
    for objective, batch in ((_objective(dataset), dataset[0]), (late, other[0])):
        *_, pictures = run_step(objective, batch, 256).held
        sizes.append({chunk.rows.stop - chunk.rows.start for chunk in pictures._chunks[:-1]})
    # 4 x 4 patches of 8 pixels merge into 4 tokens, and a tower works on four times as many.
    assert sizes == [{16}, {16}]


def test_the_whole_step_is_the_objective(of_either: tuple[TrainSet, ModelConfig]) -> None:
    dataset, model = of_either
    objective, batch = _objective(dataset, model), dataset[1]
    _, gradients = _step(objective, batch, None)
    objective.zero_grad()
    loss, _ = naive_step(objective, batch)
    loss.backward()
    for name, parameter in objective.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(parameter.grad, gradients[name], atol=TOLERANCE), name


def test_features_of_a_frozen_tower_and_a_queue_in_chunks(dataset: TrainSet) -> None:
    objective = _objective(dataset, negatives={"queue_size": 8, "queue_warmup_steps": 0})
    first, batch = _with_features(objective, dataset[0]), _with_features(objective, dataset[1])
    objective.remember(first, run_step(objective, first, None).products)
    whole = _step(objective, batch, None)
    assert "queue/drift" in whole[0].report or "queue/filled" in whole[0].report
    _same(_step(objective, batch, 200), whole)
    assert not any("visual" in name for name in whole[1])


def test_modality_weights_know_the_experts_of_every_chunk(dataset: TrainSet) -> None:
    objective, batch = _objective(dataset, modality={"enabled": True}), dataset[0]
    assert objective.modality is not None
    objective.train()
    whole = _step(objective, batch, None)
    chunked = _step(objective, batch, 200)
    _same(chunked, whole)
    assert any(name.startswith("modality.") for name in whole[1])


def test_recomputed_activations_change_nothing(dataset: TrainSet) -> None:
    kept, again = _objective(dataset), _objective(dataset)
    num = recompute_activations(again.model)
    assert num == 2 + len(vision_blocks(again.model)) == 4
    batch = dataset[2]
    whole = _step(kept, batch, None)
    _same(_step(again, batch, None), whole)
    _same(_step(again, batch, 300), whole)
    # The second run of a layer counts no token.
    again.model.moes[0].load = torch.zeros_like(again.model.moes[0].load)
    kept.model.moes[0].load = torch.zeros_like(kept.model.moes[0].load)
    _step(kept, batch, None)
    _step(again, batch, None)
    assert torch.equal(kept.model.moes[0].load, again.model.moes[0].load)
    assert kept.state_dict().keys() == again.state_dict().keys()
