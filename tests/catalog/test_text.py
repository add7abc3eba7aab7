"""Cleaning strips what no shop means and touches nothing else."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.text import clean_text, cut_text

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates too


@pytest.mark.parametrize(
    "text",
    ["Robe d'été", "👩‍👩‍👧 dress 🏳️‍🌈", "قميص أزرق", "\u202bחולצה\u202c כחולה", "红色连衣裙\u3000夏季", "a\nb\tc"],
)
def test_what_shops_write_is_untouched(text):
    assert clean_text(text) == (text, 0)


def test_control_characters_are_counted_and_gone():
    assert clean_text("a\x00b\x1bc\x7fd\x85e\ud800f\ufffeg\U0010ffffh") == ("abcdefgh", 7)


def test_line_ends_and_one_line():
    assert clean_text("a\r\nb\rc") == ("a\nb\nc", 0)
    assert clean_text(" a \t\r\n b ", one_line=True) == ("a b", 0)


@given(ANY_TEXT, st.booleans())
def test_cleaning_twice_changes_nothing(text, one_line):
    once, _ = clean_text(text, one_line=one_line)
    assert clean_text(once, one_line=one_line) == (once, 0)
    assert unicodedata.is_normalized("NFC", once)
    once.encode("utf-8")


@given(ANY_TEXT)
def test_strips_exactly_controls_surrogates_and_noncharacters(text):
    def stripped(char):
        number = ord(char)
        if unicodedata.category(char) == "Cc":
            return char not in "\t\n\r"
        return 0xD800 <= number <= 0xDFFF or 0xFDD0 <= number <= 0xFDEF or number & 0xFFFE == 0xFFFE

    assert clean_text(text)[1] == sum(map(stripped, text))


def test_cut_leaves_no_dangling_joiner():
    assert cut_text("ab", 2) == "ab"
    assert cut_text("a\u200db", 2) == "a"
    assert cut_text("a b", 2) == "a"
