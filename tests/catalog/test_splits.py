"""Sides follow group and salt alone; no group, query or purchase stands on the wrong one."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from catalog import Catalog, ConfigError, Product, Query, Side, SplitConfig, split_catalog
from catalog.splits import split_position

names = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=30, unique=True)


def shop(groups, queries=(), category=()):
    rows = tuple(
        Product(product_id=f"{group}/{variant}", group_id=group, title="t", category=category)
        for group in groups
        for variant in range(2)
    )
    return Catalog("shop", rows, tuple(queries))


def ask(key, *product_ids, **fields):
    return Query(query_id=key, kind="text", text="x", product_ids=product_ids, **fields)


@given(names, names)
def test_sides_are_stable_as_the_catalogue_grows(first, more):
    config = SplitConfig(test_frac=0.3, val_frac=0.2)
    before = split_catalog(shop(first), config).side_of
    grown = [*dict.fromkeys([*more, *first])]
    after = split_catalog(shop(grown), config).side_of
    assert {key: after[key] for key in before} == before


@given(names)
def test_no_group_is_divided_and_every_product_has_a_side(groups):
    catalog = shop(groups)
    splits = split_catalog(catalog, SplitConfig(test_frac=0.4, val_frac=0.3))
    assert set(splits.side_of) == set(catalog.by_id)
    for group in groups:
        assert splits.side_of[f"{group}/0"] == splits.side_of[f"{group}/1"]
    assert sorted(key for side in Side for key in splits.product_ids(side)) == sorted(splits.side_of)


@given(st.text(), st.text())
def test_position_by_hand(salt, group):
    digest = hashlib.sha256(salt.encode() + b"\x00" + group.encode()).hexdigest()
    expected = (int(digest[:16], 16) >> 11) * 2.0**-53
    assert split_position(salt, group) == expected
    assert 0 <= expected < 1


def test_shares_are_about_what_was_asked():
    splits = split_catalog(shop([str(n) for n in range(4000)]), SplitConfig(test_frac=0.2, val_frac=0.1))
    shares = [len(splits.product_ids(side)) / 8000 for side in (Side.TEST, Side.VAL, Side.TRAIN)]
    # Four standard deviations of a share of 4,000 draws.
    np.testing.assert_allclose(shares, (0.2, 0.1, 0.7), atol=4 * 0.46 / np.sqrt(4000))


def test_another_salt_is_another_split():
    catalog = shop([str(n) for n in range(200)])
    one = split_catalog(catalog, SplitConfig(salt="a")).side_of
    assert one != split_catalog(catalog, SplitConfig(salt="b")).side_of
    assert one == split_catalog(catalog, SplitConfig(salt="a")).side_of


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 39), min_size=1, max_size=3), st.none() | st.integers(0, 9)), max_size=20
    ),
    st.none() | st.integers(0, 9),
)
def test_queries_by_brute_force(asked, cut):
    groups = [str(n) for n in range(20)]
    config = SplitConfig(test_frac=0.4, val_frac=0.2, cut_time_s=cut)
    keys = [f"{group}/{variant}" for group in groups for variant in range(2)]
    queries = [ask(f"q{n}", *(keys[k] for k in answers), timestamp=stamp) for n, (answers, stamp) in enumerate(asked)]
    splits = split_catalog(shop(groups, queries), config)
    expected = {side: [] for side in Side}
    num_dropped = 0
    for query in queries:
        sides = {splits.side_of[key] for key in query.product_ids}
        timely = cut is None or query.timestamp is None or (query.timestamp >= cut) == (sides == {Side.TEST})
        if len(sides) == 1 and timely:
            expected[sides.pop()].append(query)
        else:
            num_dropped += 1
    assert splits.queries == {side: tuple(rows) for side, rows in expected.items()}
    assert sum(splits.dropped.values()) == num_dropped


def test_anchors_count_as_answers_do():
    groups = [str(n) for n in range(50)]
    config = SplitConfig(test_frac=0.5)
    side_of = split_catalog(shop(groups), config).side_of
    test = next(key for key in side_of if side_of[key] is Side.TEST)
    train = next(key for key in side_of if side_of[key] is Side.TRAIN)
    link = Query(query_id="q", kind="link", anchor_ids=(train,), product_ids=(test,))
    splits = split_catalog(shop(groups, [link]), config)
    assert splits.dropped["answers on several sides"] == 1


def test_quantile_cut():
    groups = [str(n) for n in range(10)]
    queries = [ask(f"q{n}", "3/0", timestamp=float(n)) for n in range(101)]
    assert split_catalog(shop(groups, queries), SplitConfig(cut_quantile=0.8)).cut_time_s == 80.0
    assert split_catalog(shop(groups), SplitConfig(cut_quantile=0.8)).cut_time_s is None


def test_held_out_leaves_are_on_the_test_side_only():
    catalog = shop([str(n) for n in range(60)], category=("Men", "Tops"))
    assert set(split_catalog(catalog, SplitConfig(hold_out_leaves=("Men > Tops",))).side_of.values()) == {Side.TEST}


def test_a_group_follows_its_variant_in_a_held_out_leaf():
    rows = tuple(
        Product(product_id=f"{group}/{leaf}", group_id=str(group), title="t", category=("Men", leaf))
        for group in range(40)
        for leaf in (("Tops", "Pants") if group < 20 else ("Hats",))
    )
    splits = split_catalog(Catalog("shop", rows), SplitConfig(hold_out_leaves=("Men > Tops",)))
    assert {splits.side_of[f"{group}/{leaf}"] for group in range(20) for leaf in ("Tops", "Pants")} == {Side.TEST}
    assert Side.TRAIN in {splits.side_of[f"{group}/Hats"] for group in range(20, 40)}


def test_a_misspelt_leaf_to_hold_out_is_refused():
    catalog = shop(["a"], category=("Men", "Tops"))
    with pytest.raises(ConfigError, match="did you mean Men > Tops") as raised:
        split_catalog(catalog, SplitConfig(hold_out_leaves=("Men > Top",)))
    assert (raised.value.where, raised.value.got) == ("catalog.split.hold_out_leaves", "Men > Top")


def test_impossible_shares_are_refused():
    with pytest.raises(ValidationError, match="below 1"):
        SplitConfig(test_frac=0.6, val_frac=0.4)
    with pytest.raises(ValidationError, match="not both"):
        SplitConfig(cut_time_s=1.0, cut_quantile=0.5)


def test_offsets_make_folds_that_hold_out_every_group_once() -> None:
    catalog = shop([f"g{number}" for number in range(200)])
    sides = [
        split_catalog(catalog, SplitConfig(test_frac=0.2, val_frac=0.1, offset_frac=fold / 5)).side_of
        for fold in range(5)
    ]
    assert all(sum(side[key] is Side.TEST for side in sides) == 1 for key in sides[0])
    assert all(len({side[key] for side in sides}) > 1 for key in sides[0])
