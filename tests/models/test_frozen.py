"""Frozen weights in low precision: what is lowered, what comes back, and a step in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.config.parameters import LoraConfig, ParametersConfig
from models.moon import MoonModel
from models.training.data import TrainSet
from models.training.frozen import lower_frozen, raise_frozen, raised
from models.training.objective import Objective
from models.training.parameters import add_lora, choose_trainable
from models.training.train_batch import View
from tests.models import shop
from tests.models.test_pairs import _dataset

LORA = LoraConfig(rank=2, alpha=4, targets=("*q_proj", "*v_proj"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> TrainSet:
    folder: Path = tmp_path_factory.mktemp("shop")
    return _dataset(shop.make_shop(folder / "data"), folder / "work", batch_size=8)


def _objective(dataset: TrainSet, train: str, **changes: object) -> Objective:
    model = shop.tiny_model(moe={"layers": [-1], "num_experts": 3, "top_k": 2, "expert": "low_rank", "rank": 2})
    moon = MoonModel.seeded(model, dataset.processor.tokenizer.get_vocab_size(), seed=1)
    torch.manual_seed(3)
    if train == "lora":
        assert isinstance(moon.backbone, torch.nn.Module)
        add_lora(moon.backbone, LORA)
    objective = Objective(moon, model, shop.tiny_train(**changes), max_photos=3).train()
    choose_trainable(
        objective,
        ParametersConfig.model_validate({"train": train, "lora": LORA} if train == "lora" else {"train": train}),
        backbone=moon.backbone,  # type: ignore[arg-type]
        vision=moon.backbone.vision_parameters(),
        experts=moon.expert_parameters(),
    )
    return objective


@pytest.mark.parametrize("train", ["lora", "experts"])
def test_what_learns_stays_float32(dataset: TrainSet, train: str) -> None:
    objective = _objective(dataset, train)
    before = {name: one.detach().clone() for name, one in objective.named_parameters()}
    lowered = lower_frozen(objective.model)
    assert lowered
    for one in objective.parameters():
        assert one.dtype == (torch.bfloat16 if any(one is other for other in lowered) else torch.float32)
        assert not (one.requires_grad and one.dtype == torch.bfloat16)
    backbone = objective.model.backbone
    assert isinstance(backbone, torch.nn.Module)
    decoder = {id(one) for one in backbone.decoder_layers().parameters()}
    decoder |= {id(one.weight) for one in backbone.modules() if isinstance(one, torch.nn.Embedding)}
    assert all(id(one) in decoder for one in lowered)
    with raised(lowered):
        for name, one in objective.named_parameters():
            rounded = any(one is other for other in lowered)
            assert torch.equal(one, before[name].bfloat16().float() if rounded else before[name]), name
    assert all(one.dtype == torch.bfloat16 for one in lowered)
    raise_frozen(lowered)
    assert all(one.dtype == torch.float32 for one in objective.parameters())


def test_nothing_is_lowered_where_the_decoder_learns(dataset: TrainSet) -> None:
    assert lower_frozen(_objective(dataset, "full").model) == []


@pytest.mark.parametrize("train", ["lora", "experts"])
def test_vectors_and_gradients_are_those_of_float32_but_for_rounding(dataset: TrainSet, train: str) -> None:
    rows = dataset[0].views[View.PRODUCTS]
    found = []
    for lowers in (False, True):
        objective = _objective(dataset, train)
        if lowers:
            assert lower_frozen(objective.model)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lowers):
            vectors_BE = objective.model(replace(rows, pixels_NCHW=dataset[0].pixels_NCHW))
        (vectors_BE * torch.randn(vectors_BE.shape, generator=torch.Generator().manual_seed(5))).sum().backward()
        gradient = torch.cat([one.grad.flatten() for one in objective.parameters() if one.grad is not None])
        found.append((vectors_BE.detach(), gradient))
    (plain_BE, plain), (low_BE, low) = found
    assert float((plain_BE * low_BE).sum(dim=-1).min()) > 0.999
    assert plain.shape == low.shape
    assert torch.nn.functional.cosine_similarity(plain, low, dim=0) > 0.99
