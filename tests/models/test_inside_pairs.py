"""Which products are looked at."""

from __future__ import annotations

from pathlib import Path

from catalog import QueryItem, Side, Splits
from models.inside import HeatConfig
from models.inside.figures import figures_for_run
from models.inside.pairs import bought_pairs, query_kind, typical_pairs
from tests.models import shop
from tests.models.inside_models import item, lively


def test_every_query_with_a_product_that_it_bought(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path)
    splits = shop.all_train(catalog)
    pairs = bought_pairs(catalog, splits, Side.TRAIN)
    assert [query.query_id for _, query in pairs] == sorted(query.query_id for query in catalog.queries)
    answers = {query.query_id: query.product_ids for query in catalog.queries}
    assert all(one.product.product_id in answers[query.query_id] for one, query in pairs)
    assert bought_pairs(catalog, splits, Side.TEST) == []


def test_a_few_pairs_take_the_kinds_of_query_in_turn(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path)
    pairs = typical_pairs(catalog, shop.all_train(catalog), 4, Side.TRAIN)
    assert [query_kind(query) for _, query in pairs if isinstance(query, QueryItem)] == [
        "photo",
        "text",
        "both",
        "photo",
    ]
    assert len({one.product.product_id for one, _ in pairs}) == 4


def test_where_nobody_bought_a_product_is_held_against_its_category(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path, purchases=False)
    side_of = {product.product_id: Side.TEST for product in catalog.products}
    pairs = typical_pairs(catalog, Splits(side_of, {}, {}), 2)
    assert [(one.product.product_id, text) for one, text in pairs] == [
        ("box-black", "Home > Box"),
        ("box-blue", "Home > Box"),
    ]


def test_figures_of_a_run_are_named_by_product() -> None:
    encoder = lively()
    figures = figures_for_run(encoder, [(item(shop.noise(1)), "Home > Mug")], HeatConfig(cells=3, window_cells=1))
    kinds = {"product_maps", "product_parts", "product_experts", "query_parts", "query_experts"}
    assert set(figures) == {f"mug/{kind}" for kind in kinds}
