from __future__ import annotations

import math

import pytest

from catalog import Catalog, Query, QueryKind, Side, SplitConfig, split_catalog
from tests.curating.shops import bought, product, shop
from validation.curating import CuratingConfig, Found, Rule
from validation.curating.times import keep_to_time
from validation.errors import BenchmarkError

T = 1_700_000_000.0
SPLIT = SplitConfig(test_frac=0.5, val_frac=0.0, cut_time_s=T)
PRODUCTS = [product(f"p{number}") for number in range(12)]
SIDES = split_catalog(shop(PRODUCTS), SPLIT).side_of
TEST = next(key for key, side in SIDES.items() if side is Side.TEST)
TRAIN = next(key for key, side in SIDES.items() if side is Side.TRAIN)


def kept(catalog: Catalog, split: SplitConfig = SPLIT, **changes: object) -> tuple[set[str], dict[Rule, Found]]:
    left, _, findings = keep_to_time(catalog, split, CuratingConfig.model_validate(changes))
    return {query.query_id for query in left.queries}, {one.rule: one for one in findings}


def log(*queries: Query) -> Catalog:
    return shop(PRODUCTS, (bought("good", TEST, timestamp=T), *queries))


@pytest.mark.parametrize(
    ("key", "stamp", "rule"),
    [
        (TEST, T - 1, Rule.EARLY_PURCHASES),
        (TEST, T, None),
        (TRAIN, T - 1, None),
        (TRAIN, T, Rule.LATE_PURCHASES),
        (TEST, 1000 * T, Rule.STAMPS_ABSURD),
        (TEST, -5.0, Rule.STAMPS_ABSURD),
        (TRAIN, math.nan, Rule.STAMPS_ABSURD),
        (TEST, math.inf, Rule.STAMPS_ABSURD),
        (TEST, None, Rule.STAMPS_MISSING),
    ],
)
def test_a_purchase_counts_on_its_own_side_of_the_cut_alone(key: str, stamp: float | None, rule: Rule | None) -> None:
    stay, findings = kept(log(bought("asked", key, timestamp=stamp)))
    assert ("asked" in stay) == (rule is None)
    assert {one.rule for one in findings.values() if one.count} == ({rule} if rule else set())


def test_the_end_of_the_log_makes_later_stamps_absurd() -> None:
    catalog = log(bought("future", TEST, timestamp=T + 100))
    assert "future" in kept(catalog)[0]
    assert "future" not in kept(catalog, log_end_s=T + 50)[0]


def test_undated_purchases_stay_where_told_so() -> None:
    assert "undated" in kept(log(bought("undated", TEST)), keep_undated=True)[0]


def test_without_a_cut_stamps_are_told_and_nothing_is_dropped() -> None:
    split = SPLIT.model_copy(update={"cut_time_s": None})
    stay, findings = kept(log(bought("odd", TEST, timestamp=1.0), bought("undated", TEST)), split)
    assert stay == {"good", "odd", "undated"}
    assert findings[Rule.STAMPS_ABSURD].count == findings[Rule.STAMPS_MISSING].count == 1


def test_a_quantile_is_taken_of_the_stamps_that_can_be_right() -> None:
    split = SPLIT.model_copy(update={"cut_time_s": None, "cut_quantile": 0.5})
    stamps = [T, T + 1, T + 2, 1000 * T, 1000 * T, 1000 * T]
    queries = [bought(f"q{number}", TEST, timestamp=stamp) for number, stamp in enumerate(stamps)]
    _, resolved, _ = keep_to_time(shop(PRODUCTS, queries), split, CuratingConfig())
    assert resolved.cut_time_s == T + 1
    assert resolved.cut_quantile is None


def test_links_and_reviews_have_no_moment_and_stay() -> None:
    link = Query(query_id="link", kind=QueryKind.LINK, anchor_ids=(TRAIN,), product_ids=(TRAIN,))
    stay, findings = kept(log(link))
    assert "link" in stay
    assert findings[Rule.STAMPS_MISSING].count == 0


def test_a_query_with_answers_on_both_sides_is_on_none() -> None:
    stay, findings = kept(log(bought("both", TEST, TRAIN, timestamp=T)))
    assert "both" not in stay
    assert findings[Rule.ANSWERS_ON_SEVERAL_SIDES].items == ("both",)


def test_a_cut_that_leaves_no_test_query_is_refused() -> None:
    catalog = shop(PRODUCTS, [bought("old", TEST, timestamp=T - 10), bought("older", TRAIN, timestamp=T - 20)])
    with pytest.raises(BenchmarkError, match="no query of a test product") as caught:
        kept(catalog)
    assert "1 queries" in caught.value.got
    assert f"{T - 20:.0f} to {T - 10:.0f}" in caught.value.allowed


def test_a_cut_without_any_stamp_is_refused() -> None:
    split = SPLIT.model_copy(update={"cut_time_s": None, "cut_quantile": 0.5})
    with pytest.raises(BenchmarkError, match="needs timestamps"):
        kept(shop(PRODUCTS, [bought("undated", TEST)]), split)
