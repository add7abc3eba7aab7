"""Shops in which a raw signal tells nothing apart still train."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from catalog import Catalog, Product
from models.training import train
from tests.models import shop

WORDLESS = {"title": None, "category": (), "attributes": {}, "description": None}


@pytest.mark.parametrize(
    ("changes", "names"),
    [(WORDLESS, ("words", "codes")), (WORDLESS | {"title": "mug"}, ("words", "codes"))],
    ids=["photographs alone", "one title for all"],
)
def test_a_shop_without_telling_words_trains(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, object], names: tuple[str, ...]
) -> None:
    whole = shop.make_shop(tmp_path / "shop")
    products: list[Product] = [product.model_copy(update=changes) for product in whole.products]
    queries = [query for query in whole.queries if query.kind == "photo"]
    catalog = Catalog("t", tuple(products), tuple(queries), whole.images, root=whole.root, image_root=whole.image_root)
    with caplog.at_level(logging.WARNING):
        result = train(
            catalog,
            shop.all_train(catalog),
            model=shop.default_model(word_residual=True),
            train=shop.tiny_train(steps=2, batch_size=4),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / "work",
            out_dir=tmp_path / "model",
        )
    assert result.steps == 2
    for name in names:
        assert f"different {name}: their residual starts as a random map" in caplog.text
