"""BM25 as a cosine against bm25s, which scores with an index."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import Product, ProductItem, QueryItem, check_vectors
from validation.benchmark.words import words_of
from validation.errors import BenchmarkError
from validation.rivals import BM25

WORDS = ("red", "blue", "shirt", "hat", "rug", "wool", "连衣裙", "红色", "帽子", "a", "to")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join), min_size=2, max_size=12)


def products_of(texts: Sequence[str]) -> list[Product]:
    return [Product(product_id=str(index), group_id=str(index), title=text) for index, text in enumerate(texts)]


def theirs(texts: Sequence[str], query: str, k1: float, b: float) -> np.ndarray:
    """Scores of the library; a word that no text has counts nothing."""
    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    index.index([words_of(text) for text in texts], show_progress=False)
    known = [word for word in words_of(query) if word in index.vocab_dict]
    return np.asarray(index.get_scores(known)) if known else np.zeros(len(texts))


def again(rival: BM25, cosine: np.ndarray, query: str) -> np.ndarray:
    """BM25 from the cosine, by the norms that its docstring names."""
    counts = [count for word, count in Counter(words_of(query)).items() if word in rival.vocabulary]
    return cosine * rival._norm * np.sqrt(sum(count**2 for count in counts))


@settings(max_examples=60)
@given(texts=TEXTS, query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join), data=st.data())
def test_scores_and_ranks_are_those_of_bm25s(texts: list[str], query: str, data: st.DataObject) -> None:
    k1, b = data.draw(st.sampled_from([(1.5, 0.75), (0.9, 0.4), (2.0, 1.0), (1.2, 0.0)]))
    rival = BM25(products_of(texts), k1=k1, b=b)
    cosine = (
        rival.embed_products(map(ProductItem, products_of(texts))) @ rival.embed_queries([QueryItem("q", query)])[0]
    )
    expected = theirs(texts, query, k1, b)
    assert np.allclose(again(rival, cosine, query), expected, atol=1e-4)
    better = expected[:, None] > expected[None] + 1e-4
    assert (cosine[:, None] > cosine[None])[better].all()


def test_chinese_texts_are_found_by_their_characters() -> None:
    rows = products_of(["红色连衣裙", "蓝色帽子", "red dress"])
    rival = BM25(rows)
    scores = rival.embed_queries([QueryItem("q", "连衣裙")]) @ rival.embed_products(map(ProductItem, rows)).T
    assert scores[0, 0] > 0.1
    assert scores[0, 1:].tolist() == [0.0, 0.0]


@given(texts=TEXTS, hide=st.sets(st.sampled_from(["title", "category", "attributes.color"])))
def test_every_vector_is_of_unit_length_whatever_is_hidden(texts: list[str], hide: set[str]) -> None:
    rows = [
        Product(product_id=str(i), group_id="g", title=text, category=("red hat",), attributes={"color": ("blue", "a")})
        for i, text in enumerate(texts)
    ]
    rival = BM25(rows)
    vectors = rival.embed_products(map(ProductItem, rows), frozenset(hide))
    check_vectors(vectors, [row.product_id for row in rows], rival.dims, "bm25")
    check_vectors(rival.embed_labels(["red", "zzz", ""]), ["a", "b", "c"], rival.dims, "bm25")


def test_hidden_words_are_neither_matched_nor_counted_towards_the_length() -> None:
    (row,) = rows = [Product(product_id="p", group_id="p", title="red red red hat", category=("wool",))]
    rival = BM25([*rows, *products_of(["hat", "rug", "blue"])])
    other = row.model_copy(update={"title": "blue"})
    hidden = rival.embed_products([ProductItem(row), ProductItem(other)], frozenset({"title"}))
    assert (hidden[0] == hidden[1]).all()
    wool = rival.embed_queries([QueryItem("q", "wool")])[0]
    shown = rival.embed_products([ProductItem(row)])[0]
    assert hidden[0] @ wool > shown @ wool > 0, "a shorter text counts its words for more"


def test_what_has_no_known_word_matches_nothing() -> None:
    rows = products_of(["red hat", "blue hat"])
    rival = BM25(rows)
    unknown, nothing = rival.embed_queries([QueryItem("q", "zzz"), QueryItem("r")])
    products = rival.embed_products([ProductItem(rows[0]), ProductItem(products_of(["qqq"])[0])])
    assert (products @ unknown).tolist() == (products @ nothing).tolist() == [0.0, 0.0]
    assert float(products[1] @ rival.embed_queries([QueryItem("q", "red hat")])[0]) == 0.0


def test_a_vocabulary_that_is_cut_keeps_the_frequent_words_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rows = products_of(["hat red", "hat blue", "hat red rare"])
    with caplog.at_level(logging.WARNING):
        rival = BM25(rows, max_words=2)
    assert sorted(rival.vocabulary) == ["hat", "red"]
    assert rival.dims == 4
    assert "2 of 4 words are left out" in caplog.text
    cosine = rival.embed_products(map(ProductItem, rows)) @ rival.embed_queries([QueryItem("q", "hat")])[0]
    whole = theirs(["hat red", "hat blue", "hat red rare"], "hat", 1.5, 0.75)
    assert np.allclose(again(rival, cosine, "hat"), whole, atol=1e-5), "the length still counts the rare word"


def test_a_product_heavier_than_any_that_was_indexed_is_refused() -> None:
    rival = BM25(products_of(["red", "hat"]), b=0.0)
    with pytest.raises(BenchmarkError, match="heavier words") as caught:
        rival.embed_products([ProductItem(products_of(["red hat"])[0])])
    assert caught.value.where == "0"


def test_its_digest_follows_texts_and_settings() -> None:
    rows = products_of(["red hat", "blue rug"])
    digests = {BM25(rows).digest, BM25(rows, k1=1.2).digest, BM25(rows, b=0.1).digest, BM25(rows[:1]).digest}
    assert len(digests) == 4
    assert BM25(rows).digest == BM25(rows[::-1]).digest, "the order of products means nothing"


@pytest.mark.parametrize(("k1", "b"), [(-0.1, 0.5), (1.0, -0.1), (1.0, 1.1)])
def test_settings_out_of_range_are_refused(k1: float, b: float) -> None:
    with pytest.raises(BenchmarkError, match="no such setting"):
        BM25([], k1=k1, b=b)


def test_a_catalogue_without_words_has_an_index_all_the_same() -> None:
    rival = BM25([Product(product_id="p", group_id="p", images=("a.png",))])
    assert rival.embed_queries([QueryItem("q", "red")]).shape == (1, rival.dims) == (1, 2)
