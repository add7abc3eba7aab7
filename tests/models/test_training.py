"""Training end to end on the tiny shop: model folder, reload, records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalog import QueryItem
from models.encoder import MoonEncoder
from models.rivals import FrozenVision, untrained_encoder
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
    assert encoder.lineage == {"commit": "abc"}
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
