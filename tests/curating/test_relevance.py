from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Catalog, Query, QueryKind, Side, Signal
from tests.curating.shops import NO_PHOTOS, bought, on_test, product, shop
from validation.curating import CuratingConfig, Found, Rule
from validation.curating.photos import PhotoLinks
from validation.curating.relevance import count_relevance
from validation.errors import BenchmarkError

PRODUCTS = [product(key) for key in "abc"]
ROWS = st.lists(
    st.tuples(st.sampled_from(("red dress", "Red  DRESS", "hat")), st.sampled_from("abc"), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


def counted(
    *queries: Query, photos: PhotoLinks = NO_PHOTOS, **changes: object
) -> tuple[dict[str, Query], dict[Rule, Found]]:
    catalog = shop(PRODUCTS, queries)
    left, findings = count_relevance(catalog, on_test(catalog), CuratingConfig.model_validate(changes), photos)
    return {query.query_id: query for query in left.queries}, {one.rule: one for one in findings}


def test_equal_words_are_one_query_and_pairs_need_support() -> None:
    left, findings = counted(
        bought("q1", "a", text="Red dress"), bought("q2", "a", text="red  DRESS"), bought("q3", "b", text="red dress")
    )
    assert list(left) == ["q1"]
    assert left["q1"].product_ids == ("a",)
    assert findings[Rule.UNITED_QUERIES].items == ("q2 in q1", "q3 in q1")
    assert findings[Rule.THIN_SUPPORT].items == ("q1 -> b: 1 of 2",)


def test_the_most_frequent_spelling_is_the_one_that_is_asked() -> None:
    spellings = ("Red Dress", "red dress", " red dress ", "RED DRESS")
    left, _ = counted(*(bought(f"q{number}", "a", text=text) for number, text in enumerate(spellings)))
    assert left["q0"].text == "red dress"


def test_a_pair_is_counted_once_a_session() -> None:
    rows = [bought(f"q{number}", "a", text="hat", extra={"session_id": "s1"}) for number in range(5)]
    with pytest.raises(BenchmarkError, match="support"):
        counted(*rows)
    left, _ = counted(*rows, bought("q9", "a", text="hat", extra={"session_id": "s2"}))
    assert left["q0"].product_ids == ("a",)


def test_other_signals_count_by_their_weight() -> None:
    rows = [bought("q1", "a", text="hat"), bought("q2", "a", text="hat", signal=Signal.CLICK)]
    with pytest.raises(BenchmarkError):
        counted(*rows)
    left, _ = counted(*rows, signal_weights={"purchase": 1.0, "click": 1.0})
    assert left["q1"].signal is Signal.PURCHASE


def test_a_row_without_a_signal_states_relevance_and_needs_no_support() -> None:
    left, findings = counted(bought("q1", "a", signal=Signal.NONE), min_support=50.0)
    assert left["q1"].product_ids == ("a",)
    assert findings[Rule.THIN_SUPPORT].count == 0


def test_photos_have_a_support_of_their_own_and_are_told_apart_by_bytes() -> None:
    photos = PhotoLinks({}, {"q1": "d1", "q2": "d1", "q3": "d2"}, {}, {})
    asked = {"kind": QueryKind.PHOTO, "text": ""}
    rows = [
        Query.model_validate(
            {"query_id": key, "image": f"{key}.jpg", "product_ids": ("a",), "signal": "purchase", **asked}
        )
        for key in ("q1", "q2", "q3")
    ]
    assert set(counted(*rows, photos=photos)[0]) == {"q1", "q3"}
    assert set(counted(*rows, photos=photos, min_photo_support=2.0)[0]) == {"q1"}


def test_words_asked_for_train_products_are_left_as_they_are() -> None:
    catalog = shop(PRODUCTS, [bought("q1", "a"), bought("q2", "b", text="hat"), bought("q3", "b", text="hat")])
    sides = {"a": Side.TRAIN, "b": Side.TEST, "c": Side.TEST}
    left, _ = count_relevance(catalog, sides, CuratingConfig(), NO_PHOTOS)
    assert {query.query_id for query in left.queries} == {"q1", "q2"}


def test_a_support_that_drops_everything_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="no query has enough support") as caught:
        counted(bought("q1", "a"), bought("q2", "b"))
    assert caught.value.got == "2 test queries, the best pair 1"
    assert "signal_weights" in caught.value.fix


def logged(rows: list[tuple[str, str, int]]) -> Catalog:
    queries = [
        bought(f"q{number:02d}", key, text=text, extra={"user": f"u{user}"})
        for number, (text, key, user) in enumerate(rows)
    ]
    return shop(PRODUCTS, queries)


@given(ROWS)
def test_support_is_the_number_of_distinct_users(rows: list[tuple[str, str, int]]) -> None:
    users: dict[tuple[str, str], set[int]] = {}
    for text, key, user in rows:
        users.setdefault((" ".join(text.lower().split()), key), set()).add(user)
    expected = {pair for pair, those in users.items() if len(those) >= 2}
    catalog = logged(rows)
    if not expected:
        with pytest.raises(BenchmarkError):
            count_relevance(catalog, on_test(catalog), CuratingConfig(), NO_PHOTOS)
        return
    left, _ = count_relevance(catalog, on_test(catalog), CuratingConfig(), NO_PHOTOS)
    assert {((query.text or "").lower(), key) for query in left.queries for key in query.product_ids} == expected


@given(ROWS, st.randoms())
def test_neither_order_nor_repetition_changes_what_is_counted(
    rows: list[tuple[str, str, int]], rng: random.Random
) -> None:
    catalog, cfg = logged(rows), CuratingConfig(min_support=1.0)
    mixed = list(catalog.queries)
    rng.shuffle(mixed)
    once, _ = count_relevance(catalog, on_test(catalog), cfg, NO_PHOTOS)
    other, _ = count_relevance(shop(PRODUCTS, mixed), on_test(catalog), cfg, NO_PHOTOS)
    again, findings = count_relevance(once, on_test(catalog), cfg, NO_PHOTOS)
    assert once.digest == other.digest == again.digest
    assert all(one.count == 0 for one in findings)
