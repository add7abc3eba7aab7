from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.curating.shops import product
from validation.curating.texts import full_text, near_texts, shingles
from validation.curating.variants import title_stem, variant_signature

SETS = st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=6), max_size=14)


def brute_force(sets: list[frozenset[str]], least: float) -> dict[tuple[int, int], float]:
    pairs = {}
    for j, two in enumerate(sets):
        for i, one in enumerate(sets[:j]):
            if one and two and len(one & two) / len(one | two) >= least:
                pairs[i, j] = len(one & two) / len(one | two)
    return pairs


@given(SETS, st.sampled_from((0.1, 1 / 3, 0.5, 0.6, 2 / 3, 0.7, 0.75, 0.9, 1.0)))
def test_near_texts_are_those_of_all_pairs(sets: list[frozenset[str]], least: float) -> None:
    assert near_texts(sets, least) == brute_force(sets, least)


def test_shingles_ignore_case_and_signs_and_tell_order() -> None:
    one, same = product("a", title="Red wool  SCARF!"), product("b", title="red Wool scarf")
    other = product("c", title="scarf wool red")
    assert shingles(one) == shingles(same)
    assert shingles(one) != shingles(other)
    assert full_text(one) == full_text(same) != full_text(other)


def test_full_text_takes_several_values_in_any_order() -> None:
    one, same = product("a", attributes={"care": ["wash", "iron"]}), product("a", attributes={"care": ["iron", "wash"]})
    assert full_text(one) == full_text(same)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alma wool scarf red", "Alma wool scarf - dark blue"),
        ("Alma wool scarf", "Alma wool scarf, size XL"),
        ("Sprite stasis ball 55 cm", "Sprite stasis ball 65cm"),
        ("Runner pro shoe EU 42", "Runner pro shoe EU 43.5"),
        ("Men's trail jacket black", "Mens trail jacket L"),
        ("羊毛连衣裙红色长款", "羊毛连衣裙蓝色长款"),
        ("羊毛围巾 180厘米", "羊毛围巾 200厘米"),
        ("Schal Wolle weich rot", "Schal Wolle weich grün"),
    ],
)
def test_titles_that_differ_in_size_and_colour_have_one_stem(one: str, other: str) -> None:
    first, second = product("a", title=one), product("b", title=other)
    assert title_stem(first, ()) == title_stem(second, ())
    if "Men" not in one:
        assert variant_signature(first, ()) != variant_signature(second, ())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alma wool scarf", "Elma wool scarf"),
        ("Sabine gown AG-2103", "Sabine gown AG-2104"),
        ("Trail jacket 2", "Trail jacket 3"),
        ("羊毛连衣裙", "羊毛围巾"),
    ],
)
def test_titles_that_name_other_articles_have_other_stems(one: str, other: str) -> None:
    assert title_stem(product("a", title=one), ()) != title_stem(product("b", title=other), ())


def test_a_products_own_variant_values_are_no_part_of_its_stem() -> None:
    one = product("a", title="Alma scarf zebra", attributes={"Color": "Zebra"})
    assert title_stem(one, ("color",)) == ("alma", "scarf")
    assert title_stem(one, ()) == ("alma", "scarf", "zebra")
    assert variant_signature(one, ("color",)) == ("zebra",)
