"""Kinds of garment, read out of words."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.regions import Wanted
from models.regions.config import WornConfig
from models.regions.worn import WordReader
from models.regions.worn.kinds import GARMENT_WORDS, singular

reader = WordReader(WornConfig())


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Chaz Kangeroo Hoodie", "upper"),
        ("Prima Compete Bra Top", "upper"),
        ("Men's T-Shirts", "upper"),
        ("long-sleeve TEE", "upper"),
        ("Tee, short sleeve", "upper"),
        ("Helios EverCool&trade; Tee", "upper"),
        ("Sol Active Short", "lower"),
        ("Boot cut jeans", "lower"),
        ("Skirts", "lower"),
        ("Viktor LumaTech Pant", "lower"),
        ("Shirt dress", "full"),
        ("Dress with a matching hat", "full"),
        ("Dress shoes", "feet"),
        ("Hiking boots for men", "feet"),
        ("Baseball cap", "head"),
        ("Tops & Shorts", None),
        ("A mug", None),
        ("Laptop", None),
        ("Overnight Duffle", None),
        ("", None),
    ],
)
def test_the_kind_is_read_from_the_title(title: str, kind: str | None) -> None:
    assert reader.read(Wanted(title)) == kind


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        (("Women", "Tops", "Bras & Tanks"), "upper"),
        (("Women", "Bottoms", "Pants"), "lower"),
        (("Men", "Tops", "Hoodies & Sweatshirts"), "upper"),
        (("Clothing", "One-piece", "Dresses"), "full"),
        (("Men", "Tops", "New in"), "upper"),
        (("Gear", "Watches"), None),
        (("Tops", "Shorts"), "lower"),
    ],
)
def test_the_deepest_level_that_names_a_garment_counts(category: tuple[str, ...], kind: str | None) -> None:
    assert reader.read(Wanted(category=category)) == kind


def test_the_category_goes_before_the_title() -> None:
    assert reader.read(Wanted("Short jacket", ("Clothes", "Trousers"))) == "lower"


@given(st.sampled_from([(kind, word) for kind, words in GARMENT_WORDS.items() for word in words.split()]))
def test_every_word_is_known_in_any_case_alone_and_in_the_plural(pair: tuple[str, str]) -> None:
    kind, word = pair
    plural = word + "es" if word.endswith(("s", "sh", "ch", "x")) else word + "s"
    for text in (word, word.upper(), plural, plural.title(), f"a {word}"):
        assert reader.read(Wanted(text)) == kind, text


@given(st.text(max_size=40), st.lists(st.text(max_size=20), max_size=3).map(tuple))
def test_any_text_is_read_without_an_error(title: str, category: tuple[str, ...]) -> None:
    assert reader.read(Wanted(title, category)) in (None, *GARMENT_WORDS)


@pytest.mark.parametrize("word", ["t-shirt", "sports bra", "size 7", "", " hosen"])
def test_a_shops_word_that_no_title_is_read_for_is_refused(word: str) -> None:
    with pytest.raises(ValidationError, match="one word of letters"):
        WornConfig(kinds={word: "upper"})


@given(st.text(st.characters(categories=["L"]), min_size=5, max_size=8))
def test_every_word_of_a_shop_that_is_taken_is_read(word: str) -> None:
    try:
        cfg = WornConfig(kinds={word: "feet"})
    except ValidationError:
        assume(False)
    assert WordReader(cfg).read(Wanted(word)) == "feet"


@pytest.mark.parametrize(
    ("plural", "one"),
    [("hoodies", "hoodie"), ("dresses", "dress"), ("bodies", "body"), ("boxes", "box"), ("dress", "dress")],
)
def test_plural_endings_are_dropped(plural: str, one: str) -> None:
    assert singular(plural) == one


def test_a_shop_adds_words_of_its_own_and_takes_words_out() -> None:
    own = WordReader(WornConfig(kinds={"Hosen": "lower", "Shell": "none"}))
    assert own.read(Wanted("Blaue HOSEN")) == "lower"
    assert own.read(Wanted("Rain shell")) is None
    assert reader.read(Wanted("Rain shell")) == "upper"
