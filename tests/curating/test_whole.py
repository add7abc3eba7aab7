"""What must hold for the whole of curating: order, place and growth of a shop."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import Catalog, ConfigError, ImageRecord, Product, Query, QueryKind, Side, SplitConfig
from tests.benchmark.shop import Shop, stocked
from tests.curating.planted import SPLIT, Planter
from validation.benchmark import EvalSet
from validation.config import BenchmarkConfig
from validation.curating import Curated, CuratingConfig, Rule, build_curated_set, curate
from validation.errors import BenchmarkError

CFG = CuratingConfig(min_support=1.0, min_leaf_products=2, max_leaf_products=4, max_queries=15)
BENCHMARK = BenchmarkConfig(min_attribute_n=5)


def judged(catalog: Catalog, split: SplitConfig = SPLIT) -> tuple[Curated, EvalSet]:
    curated = curate(catalog, split, CFG)
    return curated, build_curated_set(curated, BENCHMARK, CFG)[0]


@pytest.fixture(scope="module")
def once(planter: Planter) -> tuple[Curated, EvalSet]:
    return judged(planter.catalog())


@pytest.mark.parametrize("seed", [1, 2])
def test_neither_order_nor_place_changes_the_digest(
    planter: Planter, once: tuple[Curated, EvalSet], tmp_path: Path, seed: int
) -> None:
    catalog, rng = planter.catalog(), random.Random(seed)
    shutil.copytree(Path(catalog.root) / "images", tmp_path / "moved" / "images")
    products, queries = list(catalog.products), list(catalog.queries)
    rng.shuffle(products)
    rng.shuffle(queries)
    images = dict(rng.sample(list(catalog.images.items()), len(catalog.images)))
    elsewhere = replace(
        catalog, products=tuple(products), queries=tuple(queries), images=images, root=str(tmp_path / "moved")
    )
    curated, eval_set = judged(elsewhere)
    assert curated.findings == once[0].findings
    assert curated.catalog.digest == once[0].catalog.digest
    assert eval_set.digest == once[1].digest


def test_a_growing_shop_moves_no_product_from_test_to_train(planter: Planter, once: tuple[Curated, EvalSet]) -> None:
    whole = planter.catalog()
    half = whole.subset(row.product_id for row in whole.products[::2])
    before = curate(half, SPLIT, CFG.model_copy(update={"max_leaf_products": None})).splits.side_of
    after = curate(whole, SPLIT, CFG.model_copy(update={"max_leaf_products": None})).splits.side_of
    rank = {Side.TEST: 0, Side.VAL: 1, Side.TRAIN: 2}
    both = before.keys() & after.keys()
    assert len(both) > 50
    assert all(rank[after[key]] <= rank[before[key]] for key in both)


def test_twin_tasks_keep_the_same_queries_under_a_cap(once: tuple[Curated, EvalSet]) -> None:
    asked = {task.name: [query.query_id for query in task.queries] for task in once[1].retrieval}
    assert max(map(len, asked.values())) == 15
    for name, queries in asked.items():
        if name.endswith("_title_hidden"):
            assert queries == asked[name.removesuffix("_title_hidden")]


def test_the_caps_hold_and_are_told(once: tuple[Curated, EvalSet]) -> None:
    curated, eval_set = once
    assert all(after == min(before, 4) for before, after in curated.leaves.values())
    assert len(eval_set.gallery) == sum(after for _, after in curated.leaves.values())
    told = {one.rule: one.count for one in curated.findings}
    assert told[Rule.LEAF_CAP] == sum(before - after for before, after in curated.leaves.values()) > 0


def test_a_query_photo_that_still_is_in_the_gallery_is_dropped(tmp_path: Path) -> None:
    """Under a wider bound than that of the building of the set, which alone could let one through."""

    def change(shop: Shop) -> None:
        seen = shop.photo("images/near.png", 2)
        shop.query("near", QueryKind.PHOTO, ("p004",), image=seen)

    shop = stocked(tmp_path, change=change)
    curated = Curated(shop.catalog(), shop.splits(), SplitConfig(), (), {})
    wide = CuratingConfig(near_identical_frac=1.0, near_identical_levels=255.0)
    eval_set, findings = build_curated_set(curated, BENCHMARK, wide)
    (told,) = (one for one in findings if one.rule is Rule.QUERY_PHOTO_IN_GALLERY)
    assert told.count > 0
    assert not any(photo for query in eval_set.queries() for photo in query.photos)
    assert any(reason == "every query's photo is in the gallery" for _, reason in eval_set.absent)


def test_products_with_nothing_to_show_are_dropped(tmp_path: Path) -> None:
    shop = stocked(tmp_path)
    broken = ImageRecord("images/broken.png", status="image is truncated or damaged")
    row = Product(product_id="bare", group_id="bare", images=(broken.ref,))
    catalog = replace(shop.catalog(), products=(*shop.products, row), images=shop.images | {broken.ref: broken})
    curated = curate(catalog, SplitConfig(test_frac=0.5), CuratingConfig(min_support=1.0))
    assert curated.findings[0].items == ("bare",)
    assert "bare" not in curated.catalog.by_id


def test_ignored_photos_tie_nothing(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        same = shop.photo("images/placeholder.png", 9_999)
        for index, row in enumerate(shop.products):
            shop.products[index] = row.model_copy(
                update={"images": (*row.images, same), "boxes": (), "image_roles": ()}
            )

    catalog = stocked(tmp_path, change=change).catalog()
    with pytest.raises(BenchmarkError, match="too many groups") as caught:
        curate(catalog, SplitConfig(), CuratingConfig())
    digest = catalog.images["images/placeholder.png"].digest
    assert digest in caught.value.got
    ignoring = CuratingConfig(ignored_photos=(digest,), min_support=1.0)
    assert len(curate(catalog, SplitConfig(test_frac=0.5), ignoring).catalog.products) == len(catalog.products)


def test_labelled_photographs_alone_are_a_set(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for index in range(8):
        ref = shop.photo(f"images/l{index}.png", index)
        row = {"query_id": f"l{index}", "kind": "photo_label", "image": ref, "label": ("shirt", "hat")[index % 2]}
        shop.queries.append(Query.model_validate(row))
    catalog = Catalog("labels", (), tuple(shop.queries), shop.images, str(tmp_path))
    eval_set, _ = build_curated_set(curate(catalog, SplitConfig(), CuratingConfig()), BENCHMARK, CuratingConfig())
    assert eval_set.labels
    assert not eval_set.gallery


def test_an_empty_shop_and_a_misspelt_leaf_are_refused(tmp_path: Path) -> None:
    catalog = stocked(tmp_path).catalog()
    with pytest.raises(BenchmarkError, match="no product to judge on"):
        curate(catalog, SplitConfig(test_frac=0.0), CuratingConfig())
    with pytest.raises(ConfigError, match="held out"):
        curate(catalog, SplitConfig(hold_out_leaves=("Wear > Tops > Shirt",)), CuratingConfig())


def test_a_set_without_a_question_is_refused(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.product("a", category=())
    with pytest.raises(BenchmarkError, match="nothing to ask"):
        build_curated_set(
            curate(shop.catalog(), SplitConfig(test_frac=0.99, val_frac=0.0), CuratingConfig()),
            BENCHMARK,
            CuratingConfig(),
        )
