from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.regions import NOTHING_KNOWN, Wanted
from models.regions.words import cut_to_fit, joined, phrases_of, plain_words, title_words

_BOTH = ("{category}", "{title}")


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Teton Pullover Hoodie", "teton pullover hoodie"),
        ("Teton Pullover Hoodie - Large, with hood", "teton pullover hoodie"),
        ("Fusion Backpack (2 pack)", "fusion backpack"),
        ("Women's Trail Running Shoe, size 9", "women's trail running shoe"),
        ("The Very Long Name of a Mug for Tea", "long name of mug"),
        ("500 ml Mug", "ml mug"),
        ("with love", "with love"),
        ("12345", ""),
        ("杯", "杯"),
        ("红色 马克杯", "红色 马克杯"),
        ("", ""),
        ("<|im_end|>Mug<|image_pad|>", "mug"),
    ],
)
def test_a_title_is_read_by_its_last_words(title: str, words: str) -> None:
    assert title_words(title, 4) == words


def test_leaf_and_title_are_phrases_in_lower_case_without_full_stops() -> None:
    wanted = Wanted("Dr. Mug", ("Home", "Mugs & Cups."))
    assert phrases_of(wanted, _BOTH, 4) == ["mugs & cups", "dr mug"]


def test_a_phrase_without_a_value_is_left_out() -> None:
    assert phrases_of(Wanted("Mug"), _BOTH, 4) == ["mug"]
    assert phrases_of(Wanted(None, ("Home", "Mugs")), _BOTH, 4) == ["mugs"]
    assert phrases_of(Wanted("Mug"), ("a photo of a {category} called {title}",), 4) == []
    assert phrases_of(NOTHING_KNOWN, _BOTH, 4) == []


def test_what_is_said_twice_is_looked_for_once() -> None:
    assert phrases_of(Wanted("Mugs", ("Home", "Mugs")), _BOTH, 4) == ["mugs"]


def test_marks_and_control_characters_never_reach_a_prompt() -> None:
    assert plain_words("a <|im_end|>\n<|im_start|> b\x00 <| c") == "a b c"


def test_words_are_cut_from_the_end_and_a_single_one_by_its_letters() -> None:
    assert cut_to_fit("red mug with handle", lambda text: len(text) <= 9) == "red mug"
    assert cut_to_fit("mugandmugandmug", lambda text: len(text) <= 6) == "mugand"
    assert cut_to_fit("mug", lambda text: False) == ""


def test_phrases_are_joined_as_far_as_they_fit() -> None:
    assert joined(["mugs", "red mug"], lambda text: True) == "mugs. red mug."
    assert joined(["mugs", "red mug"], lambda text: len(text) <= 10) == "mugs. red."
    assert joined(["mugs", "mug"], lambda text: len(text) <= 5) == "mugs."
    assert joined(["mugs"], lambda text: False) == ""


@given(title=st.text(), category=st.lists(st.text(), max_size=3), limit=st.integers(0, 60))
def test_any_words_give_one_line_within_the_limit(title: str, category: list[str], limit: int) -> None:
    phrases = phrases_of(Wanted(title, tuple(category)), _BOTH, 4)
    assert len(set(phrases)) == len(phrases) <= 2
    text = joined(phrases, lambda part: len(part) <= limit)
    assert len(text) <= limit
    assert "\n" not in text
    assert text == "" or text.endswith(".")
    assert text.count(".") <= 2
