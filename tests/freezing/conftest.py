"""One evaluation set with every kind of task, frozen once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog import Product, QueryKind
from tests.benchmark.shop import Shop, stocked
from validation.benchmark import EvalSet, build_eval_set
from validation.config import BenchmarkConfig
from validation.curating import Rule
from validation.curating.findings import found
from validation.freezing import SetCard, save_eval_set

CARD = SetCard(
    name="Shop <b>| one",
    created=datetime(2026, 3, 1, 12, tzinfo=UTC),
    source="shop",
    source_digest="f" * 64,
    licence="CC-BY-4.0",
    valid_days=90,
    rules={"curating.min_support": 2.0},
    findings=(found(Rule.DUPLICATES, "are copies; dropped", ["b = a | <i>", "c = a"]),),
    leaves={"Wear > Tops": (12, 5), "Home > Rugs": (3, 3)},
)


def labelled(shop: Shop) -> None:
    """Photographs that belong to no product, a text in Chinese, and a product that shows one photo alone."""
    for index in range(6):
        ref = shop.photo(f"images/l{index}.png", 77_000 + index)
        shop.query(f"l{index}", QueryKind.PHOTO_LABEL, (), image=ref, label=("shirt", "hat")[index % 2])
    shop.products.append(
        Product(product_id="zh", group_id="zh", title="羊毛连衣裙 | 红色", images=(shop.photo("z.png", 9),))
    )
    shop.sides["zh"] = shop.sides["p000"]


@pytest.fixture(scope="session")
def eval_set(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    shop = stocked(tmp_path_factory.mktemp("shop"), change=labelled)
    splits = shop.splits()
    return build_eval_set(shop.catalog(), splits, BenchmarkConfig(min_attribute_n=5))


@pytest.fixture
def frozen(eval_set: EvalSet, tmp_path: Path) -> Path:
    return save_eval_set(eval_set, tmp_path / "sets" / "shop", CARD)
