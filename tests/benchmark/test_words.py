"""Words of titles in several scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.benchmark.words import telling_words, words_of


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


@pytest.mark.parametrize(
    ("answer", "title", "named"),
    [
        ("红色", "红豆保暖内衣", False),
        ("红色", "新款红色连衣裙", True),
        ("连衣裙", "半身裙女夏", False),
        ("红", "新款红裙", True),
        ("T恤", "纯棉T恤女", True),
        ("T恤", "纯棉衬衫", False),
        ("red dress", "Dresses for summer", True),
    ],
)
def test_an_answer_is_named_by_pairs_of_characters_where_words_have_no_spaces(
    answer: str, title: str, named: bool
) -> None:
    assert (not set(words_of(title)).isdisjoint(telling_words(answer))) == named


@given(st.text(max_size=60))
def test_telling_words_are_words_of_the_text(text: str) -> None:
    assert set(telling_words(text)) <= set(words_of(text))
