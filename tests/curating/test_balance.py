from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from catalog import Catalog, Product, Side
from tests.curating.shops import on_test, product, shop
from validation.curating import CuratingConfig, Rule
from validation.curating.balance import NO_CATEGORY, balance, leaf_of
from validation.errors import BenchmarkError

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=7)


def leaves_of(sizes: list[int]) -> Catalog:
    rows = [
        product(f"l{leaf}-{number}", f"g{leaf}-{number // 3}", category=("Shop", f"leaf {leaf}"))
        for leaf, size in enumerate(sizes)
        for number in range(size)
    ]
    return shop(rows)


def kept_sizes(catalog: Catalog, cfg: CuratingConfig) -> dict[str, int]:
    kept = balance(catalog, on_test(catalog), cfg).kept
    return dict(Counter(leaf_of(catalog.by_id[key]) for key in kept))


def naive_shares(sizes: dict[str, int], floor: int, most: int) -> list[int]:
    """Take one from a largest leaf above its floor until the cap is met."""
    left = dict(sizes)
    while sum(left.values()) > most:
        largest = max((leaf for leaf in left if left[leaf] > min(sizes[leaf], floor)), key=lambda leaf: left[leaf])
        left[largest] -= 1
    return sorted(left.values())


@given(SIZES, st.integers(1, 6), st.integers(0, 60))
def test_the_gallery_cap_takes_from_the_largest_leaves_first(sizes: list[int], floor: int, above: int) -> None:
    catalog = leaves_of(sizes)
    most = sum(min(size, floor) for size in sizes) + above
    kept = kept_sizes(catalog, CuratingConfig(min_leaf_products=floor, max_gallery=most))
    named = {f"Shop > leaf {leaf}": size for leaf, size in enumerate(sizes)}
    assert sorted(kept.values()) == naive_shares(named, floor, most)
    assert all(kept[leaf] >= min(size, floor) for leaf, size in named.items())


@given(SIZES, st.integers(1, 8))
def test_the_leaf_cap_keeps_the_tail_whole(sizes: list[int], most: int) -> None:
    kept = kept_sizes(leaves_of(sizes), CuratingConfig(min_leaf_products=1, max_leaf_products=most))
    assert kept == {f"Shop > leaf {leaf}": min(size, most) for leaf, size in enumerate(sizes)}


@given(SIZES, st.integers(5, 9), st.randoms())
def test_the_order_of_rows_never_matters(sizes: list[int], most: int, rng: random.Random) -> None:
    catalog = leaves_of(sizes)
    mixed = list(catalog.products)
    rng.shuffle(mixed)
    cfg = CuratingConfig(max_leaf_products=most)
    assert balance(catalog, on_test(catalog), cfg) == balance(shop(mixed), on_test(catalog), cfg)


@given(SIZES, st.integers(5, 9))
def test_balancing_twice_changes_nothing(sizes: list[int], most: int) -> None:
    catalog, cfg = leaves_of(sizes), CuratingConfig(max_leaf_products=most)
    once = catalog.subset(balance(catalog, on_test(catalog), cfg).kept)
    assert balance(once, on_test(once), cfg).kept == set(once.by_id)


def test_a_product_keeps_its_place_in_the_draw_when_others_come() -> None:
    """With a cap, a newcomer can take a place; those that stay out stay out."""
    cfg = CuratingConfig(max_leaf_products=6)
    small, large = leaves_of([20]), leaves_of([40])
    out = set(small.by_id) - balance(small, on_test(small), cfg).kept
    assert out.isdisjoint(balance(large, on_test(large), cfg).kept)


def test_only_the_test_side_is_capped() -> None:
    catalog = leaves_of([10])
    sides = {key: Side.TEST if number < 7 else Side.TRAIN for number, key in enumerate(catalog.by_id)}
    balanced = balance(catalog, sides, CuratingConfig(max_leaf_products=5))
    assert balanced.leaves == {"Shop > leaf 0": (7, 5)}
    assert {one.rule: one.count for one in balanced.findings}[Rule.LEAF_CAP] == 2


def test_products_without_a_category_are_a_leaf_of_their_own() -> None:
    rows: list[Product] = [product("a", category=()), product("b")]
    catalog = shop(rows)
    assert set(balance(catalog, on_test(catalog), CuratingConfig()).leaves) == {NO_CATEGORY, "Wear > Tops"}


def test_a_cap_below_what_the_tail_keeps_is_refused() -> None:
    catalog = leaves_of([9, 9, 2])
    with pytest.raises(BenchmarkError, match="tail") as caught:
        balance(catalog, on_test(catalog), CuratingConfig(max_gallery=11))
    assert "at least 12" in caught.value.allowed


def test_a_shop_without_a_test_product_is_refused() -> None:
    catalog = leaves_of([4])
    with pytest.raises(BenchmarkError, match="no product to judge on"):
        balance(catalog, dict.fromkeys(catalog.by_id, Side.TRAIN), CuratingConfig())


def test_a_leaf_cap_below_the_floor_is_no_configuration() -> None:
    with pytest.raises(ValidationError, match="below min_leaf_products"):
        CuratingConfig(max_leaf_products=3)
