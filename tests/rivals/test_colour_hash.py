"""Colours with hashes against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from catalog import ModelError, Photo, ProductItem, QueryItem, check_vectors
from catalog.likeness import perceptual_hash
from tests.benchmark.shop import picture
from tests.rivals.tiny import item_of, photo_of
from validation.rivals import ColourAndHash
from validation.rivals.colour_histogram import hsv_histogram


def test_the_cosine_of_two_photos_is_half_colours_half_bits() -> None:
    one, two = picture(1), picture(2)
    vectors = ColourAndHash().embed_queries([QueryItem("a", photo=photo_of(1)), QueryItem("b", photo=photo_of(2))])
    colours = np.sqrt(hsv_histogram(one) * hsv_histogram(two)).sum()
    differing = np.mean(perceptual_hash(one) != perceptual_hash(two))
    assert float(vectors[0] @ vectors[1]) == pytest.approx((colours + 1 - 2 * differing) / 2, abs=1e-5)


def test_a_copy_that_was_shrunk_is_nearer_than_any_other_picture() -> None:
    rival = ColourAndHash()
    copy = picture(3, 64).resize((40, 40), Image.Resampling.LANCZOS)
    products = rival.embed_products([item_of(str(seed), seed) for seed in range(1, 9)])
    (query,) = rival.embed_queries([QueryItem("q", photo=photo_of(copy))])
    assert int((products @ query).argmax()) == 2
    assert float((products @ query).max()) > 0.9


def test_a_product_is_the_normalised_mean_of_its_photos_in_any_order() -> None:
    rival = ColourAndHash()
    both, back, first, second = rival.embed_products(
        [item_of("a", 1, 2), item_of("b", 2, 1), item_of("c", 1), item_of("d", 2)]
    )
    mean = first + second
    assert np.allclose(both, mean / np.linalg.norm(mean), atol=1e-6)
    assert np.allclose(both, back, atol=1e-6)


def test_what_has_no_photo_matches_nothing_and_hidden_photos_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rival = ColourAndHash()
    seen = rival.embed_products([item_of("a", 1)])
    monkeypatch.setattr(Photo, "load", lambda self, *_: pytest.fail("looked"))
    hidden = rival.embed_products([item_of("a", 2), ProductItem(item_of("b").product)], frozenset({"images"}))
    bare = rival.embed_queries([QueryItem("q", "red")])
    check_vectors(np.vstack([seen, hidden, bare]), list("abcd"), rival.dims, rival.name)
    assert (hidden[0] == hidden[1]).all()
    assert float(hidden[0] @ bare[0]) == float(seen[0] @ bare[0]) == float(seen[0] @ hidden[0]) == 0.0
    assert (rival.embed_products([item_of("a", 1)]) == seen).all(), "a photo is decoded once"


def test_words_are_refused() -> None:
    with pytest.raises(ModelError, match="colour_hash cannot read text"):
        ColourAndHash().embed_labels(["red"])
