"""Training end to end on the tiny shop: model folder, reload, records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catalog import Embedder, QueryItem
from models.encoder import MoonEncoder
from models.moe import GuidedMoe
from models.moe.router import Choice
from models.rivals import FrozenVision, untrained_encoder
from models.tokens import TokenType
from models.training import TrainingRecord, train
from tests.models import shop


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingRecord]:
    root = tmp_path_factory.mktemp("shop")
    catalog = shop.make_shop(root / "data")
    record = train(
        catalog,
        shop.all_train(catalog),
        model=shop.tiny_model(),
        train=shop.tiny_train(),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=root / "work",
        out_dir=root / "model",
        lineage={"commit": "abc"},
    )
    return root, record


def test_the_model_folder_embeds(trained: tuple[Path, TrainingRecord]) -> None:
    root, record = trained
    encoder = MoonEncoder.load(root / "model")
    catalog = shop.make_shop(root / "data")
    products = encoder.embed_products(catalog.items())
    queries = encoder.embed_queries(catalog.query_item(query) for query in catalog.queries)
    labels = encoder.embed_labels(["Home > Mug", "colour: red"])
    assert products.shape == (8, 24)
    assert queries.shape == (24, 24)
    assert labels.shape == (2, 24)
    assert encoder.digest == record.digest
    assert encoder.lineage == {"commit": "abc", "crops": "both"}
    assert record.steps == 6
    assert record.resumed_from_step == 0
    assert {"purchases/image", "purchases/text", "purchases/both", "views/image"} <= record.num_pairs.keys()


def test_rivals_share_the_architecture_and_not_the_weights(trained: tuple[Path, TrainingRecord]) -> None:
    root, _ = trained
    catalog = shop.make_shop(root / "data")
    items = list(catalog.items())
    untrained = untrained_encoder(root / "model")
    ours = MoonEncoder.load(root / "model").embed_products(items)
    assert untrained.embed_products(items).shape == ours.shape
    assert not np.allclose(untrained.embed_products(items), ours, atol=1e-3)
    frozen = FrozenVision(untrained)
    assert frozen.embed_queries([QueryItem("q", "red mug", None)]).shape == (1, 32)
    assert "text" not in frozen.modalities


def test_raw_signals_in_heads_of_their_own_start_where_the_catalogue_is(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "data")
    model = shop.tiny_model(
        head="heads", colour_residual=True, word_weights="rare", residual_start="whitened", embedding_dims=48
    )
    train(
        catalog,
        shop.all_train(catalog),
        model=model,
        train=shop.tiny_train(steps=1, lr_text=1e-9, lr_vision=1e-9),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=tmp_path / "work",
        out_dir=tmp_path / "model",
    )
    encoder = MoonEncoder.load(tmp_path / "model")
    weights = encoder.model.token_weights
    assert float(weights.min()) < 0.5 < float(weights.max())
    # Nothing was learnt, and yet a photograph finds a product of its colour: the signals alone tell them apart.
    photos = [query for query in catalog.queries if query.kind == "photo"]
    products = encoder.embed_products(catalog.items())
    queries = encoder.embed_queries(catalog.query_item(query) for query in photos)
    nearest = [catalog.products[index] for index in (queries @ products.T).argmax(axis=1)]
    asked = [catalog.by_id[query.product_ids[0]] for query in photos]
    right = sum(a.attributes["colour"] == b.attributes["colour"] for a, b in zip(nearest, asked, strict=True))
    assert right >= 7
    frozen = FrozenVision(untrained_encoder(tmp_path / "model"))
    assert frozen.embed_products(catalog.items()).shape == (8, 32)


def test_the_record_holds_every_choice_of_the_routers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps, logged after two: the last one's choices are in no counter that a point has cleared."""
    counted: dict[str, list[int]] = {}
    route = GuidedMoe._route

    def counting(self: GuidedMoe, h_RD: torch.Tensor, types_R: torch.Tensor, *rest: object) -> Choice:
        choice = route(self, h_RD, types_R, *rest)  # type: ignore[arg-type]
        if self.training and torch.is_grad_enabled():
            for kind, experts in zip(types_R.tolist(), choice.expert_TK.tolist(), strict=True):
                row = counted.setdefault(TokenType(kind).name.lower(), [0, 0, 0])
                for expert in experts:
                    row[expert] += 1
        return choice

    monkeypatch.setattr(GuidedMoe, "_route", counting)
    catalog = shop.make_shop(tmp_path / "data")
    asked: dict[str, Any] = {
        "model": shop.tiny_model(),
        "train": shop.tiny_train(steps=3, log_every_steps=2, checkpoint_every_steps=1),
        "regions": shop.regions(),
        "regions_config": shop.REGIONS,
        "work_dir": tmp_path / "work",
        "out_dir": tmp_path / "model",
    }

    def score(embedder: Embedder) -> float:
        return float(embedder.embed_products(catalog.items())[0, 0])

    record = train(catalog, shop.all_train(catalog), **asked, score=score)
    assert record.expert_choices == [counted]
    assert {"image", "title"} <= counted.keys()
    # A finished training that is asked again trains nothing, and still knows.
    monkeypatch.setattr(GuidedMoe, "_route", route)
    again = train(catalog, shop.all_train(catalog), **asked)
    assert again.resumed_from_step == 3
    assert again.expert_choices == [counted]


def test_a_record_of_before_the_choices_were_kept_is_read(trained: tuple[Path, TrainingRecord]) -> None:
    told = trained[1].to_dict()
    del told["expert_choices"]
    assert TrainingRecord(**told).expert_choices == []
