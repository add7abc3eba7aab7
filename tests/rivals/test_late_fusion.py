"""The rule of fusion against closed forms, and the text that rivals read."""

from __future__ import annotations

import numpy as np
import pytest

from catalog import Product
from validation.rivals.late_fusion import fuse, unit
from validation.rivals.product_text import product_sentence, product_words

X, Y, Z = np.eye(3)


def test_words_and_photos_weigh_the_same_however_many_photos_there_are() -> None:
    one = fuse(X, [Y], Z)
    many = fuse(X, [Y] * 7, Z)
    assert np.allclose(one, (X + Y) / np.sqrt(2))
    assert np.allclose(one, many)


def test_what_is_missing_leaves_the_other_alone_and_nothing_is_nowhere() -> None:
    assert (fuse(X, [], Z) == X).all()
    assert (fuse(None, [Y], Z) == Y).all()
    assert (fuse(None, [], Z) == Z).all()
    assert (fuse(None, [Y, -Y], Z) == Z).all(), "photos that cancel out say nothing"
    assert (fuse(X, [Y, -Y], Z) == X).all()
    assert (fuse(X, [-X], Z) == Z).all()


def test_the_order_of_photos_does_not_change_a_single_bit() -> None:
    rows = [row / np.linalg.norm(row) for row in np.random.default_rng(0).standard_normal((9, 3))]
    assert (fuse(X, rows, Z) == fuse(X, rows[::-1], Z)).all()


def test_a_vector_that_is_not_finite_stays_so() -> None:
    with np.errstate(invalid="ignore"):
        found = unit(np.array([np.nan, 1.0]))
    assert found is not None
    assert np.isnan(found).any(), "check_vectors then names the item"


@pytest.mark.parametrize(
    ("fields", "sentence", "words"),
    [
        ({"title": "Red hat"}, "Red hat", "Red hat"),
        (
            {"title": "Hat", "category": ("Men", "Hats"), "attributes": {"eco_collection": ("Yes", "No")}},
            "Hat. Men > Hats. eco collection: Yes. eco collection: No",
            "Hat Men Hats Yes No",
        ),
        ({"images": ("a.png",), "description": "Warm"}, "", ""),
    ],
)
def test_rivals_read_title_category_and_attributes(fields: dict[str, object], sentence: str, words: str) -> None:
    product = Product.model_validate({"product_id": "p", **fields})
    assert product_sentence(product) == sentence
    assert product_words(product).strip() == words
