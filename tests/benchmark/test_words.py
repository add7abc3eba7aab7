"""Words of titles in several scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.benchmark.words import words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red Shirts, size XS!", ["red", "shirt", "size", "xs"]),
        ("Women's dress & ladies' classes", ["women", "s", "dress", "lady", "class"]),
        ("bus glass us", ["bus", "glass", "us"]),
        ("红色连衣裙", ["红", "色", "连", "衣", "裙", "红色", "色连", "连衣", "衣裙"]),
        ("iPhone手机 case", ["iphone", "手", "机", "手机", "case"]),
        ("قميص أحمر", ["قميص", "أحمر"]),
        ("snake_case under-score", ["snake", "case", "under", "score"]),
        ("🎁", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text(max_size=60))
def test_case_never_matters(text: str) -> None:
    assert words_of(text.casefold()) == words_of(text)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        *(("shirt", "shirts"), ("dress", "dresses"), ("hoodie", "hoodies"), ("battery", "batteries")),
        *(("watch", "watches"), ("blouse", "blouses"), ("box", "boxes"), ("shoe", "shoes")),
    ],
)
def test_singular_and_plural_meet(one: str, many: str) -> None:
    assert words_of(one) == words_of(many)
