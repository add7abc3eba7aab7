"""Image-text alignment inside a product by a naive loop."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from models.losses import Views, alignment, alignment_sets
from models.negatives import candidate_codes, codes_of, described, padded_codes

GROUPS = ["g0", "g0", "g1", "g2", "g3"]
TITLES = ["a mug", "a cup", "a mug", "", "a hat"]
SAYS: list[set[str]] = [set(), {"cup"}, {"red", "mug"}, set(), {"red"}]
"""What the words of each say; of a title nothing is known."""
TRUE: list[set[str]] = [{"red", "mug"}, {"red", "cup"}, {"red", "mug"}, {"cup", "blue", "tall"}, {"red", "hat"}]
WITH_WORDS, WITH_IMAGE = [0, 1, 2, 4], [0, 2, 3, 4]
SCALE = torch.tensor(5.0)


def _views(rows: list[int], seed: int, words: bool = False, described: bool = False) -> Views:
    generator = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(5, 6, generator=generator, dtype=torch.float64), dim=1)[rows]
    keys = [f"p{row}" for row in rows]
    codes = candidate_codes(keys, [GROUPS[row] for row in rows], [""] * len(rows), [frozenset()] * len(rows))
    says = padded_codes([SAYS[row] if described and words else set() for row in rows])
    facts = padded_codes([TRUE[row] if described else set() for row in rows])
    return Views(vectors, codes, codes_of(TITLES[row] for row in rows), says, facts)


def _true_as_well(i: int, j: int) -> bool:
    return bool(SAYS[i]) and all(fact in TRUE[j] for fact in SAYS[i])


def _naive(
    left: Views,
    left_rows: list[int],
    right: Views,
    right_rows: list[int],
    dims: tuple[int, ...],
    true_as_well: Callable[[int, int], bool] = lambda i, j: False,
) -> float:
    losses = []
    for a, i in enumerate(left_rows):
        answers = [b for b, j in enumerate(right_rows) if i == j or (TITLES[i] and TITLES[i] == TITLES[j])]
        others = [b for b, j in enumerate(right_rows) if b not in answers and GROUPS[i] != GROUPS[j]]
        others = [b for b in others if not true_as_well(i, right_rows[b])]
        if not answers:
            continue
        loss = 0.0
        for length in dims:
            s = [
                math.exp(5.0 * float(F.cosine_similarity(left.vectors_NE[a, :length], one[:length], dim=0)))
                for one in right.vectors_NE
            ]
            rest = sum(s[b] for b in others)
            loss -= sum(math.log(s[b] / (s[b] + rest)) for b in answers) / len(answers) / len(dims)
        losses.append(loss)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("dims", [(6,), (2, 6)])
def test_alignment_by_a_naive_loop(dims: tuple[int, ...], described: bool) -> None:
    words, products = _views(WITH_WORDS, 0, True, described), _views(list(range(5)), 1, False, described)
    images = _views(WITH_IMAGE, 2, False, described)
    true = _true_as_well if described else lambda i, j: False
    to_product = _naive(words, WITH_WORDS, products, list(range(5)), dims, true)
    to_image = _naive(words, WITH_WORDS, images, WITH_IMAGE, dims, true)
    to_words = _naive(images, WITH_IMAGE, words, WITH_WORDS, dims, lambda i, j: true(j, i))
    expected = 0.5 * (to_product + 0.5 * (to_image + to_words))
    assert float(alignment(words, products, images, SCALE, dims)) == pytest.approx(expected, abs=1e-6)
    # Without pictures the words still find their product.
    assert float(alignment(words, products, _views([], 2), SCALE, dims)) == pytest.approx(to_product, abs=1e-6)


def test_equal_words_answer_each_other_and_variants_are_neither() -> None:
    positive, negative = alignment_sets(_views(WITH_WORDS, 0), _views(list(range(5)), 1))
    assert positive.tolist() == [
        [True, False, True, False, False],
        [False, True, False, False, False],
        [True, False, True, False, False],
        [False, False, False, False, True],
    ]
    assert negative.tolist() == [
        [False, False, False, True, True],
        [False, False, True, True, True],
        [False, True, False, True, True],
        [True, True, True, True, False],
    ]
    assert bool(alignment_sets(_views([0], 0), _views([1], 0), mask_same_group=False)[1])
    # Two products without words are not alike for that.
    assert not bool(alignment_sets(_views([3], 0), _views([0, 1], 0))[0].any())


def test_a_product_of_which_the_words_are_true_is_no_negative_of_theirs() -> None:
    words, products = _views(WITH_WORDS, 0, True, True), _views(list(range(5)), 1, False, True)
    plain = alignment_sets(_views(WITH_WORDS, 0), _views(list(range(5)), 1))
    positive, negative = alignment_sets(words, products)
    assert positive.tolist() == plain[0].tolist()
    # A title says nothing that is known; "cup" is true of the blue cup; "red mug" of its own alone; "red" of all red.
    assert negative.tolist() == [
        [False, False, False, True, True],
        [False, False, True, False, True],
        [False, True, False, True, True],
        [False, False, False, True, False],
    ]
    assert alignment_sets(products, words)[1].tolist() == negative.T.tolist()


def test_described_by_sets() -> None:
    rng = random.Random(0)
    kinds = [f"fact {number}" for number in range(7)]
    for _ in range(30):
        says = [set(rng.sample(kinds, rng.randrange(4))) for _ in range(rng.randrange(6))]
        true = [set(rng.sample(kinds, rng.randrange(7))) for _ in range(rng.randrange(6))]
        expected = [[bool(one) and one <= other for other in true] for one in says]
        found = described(padded_codes(says), padded_codes(true))
        assert found.shape == (len(says), len(true))
        assert found.tolist() == expected


def test_words_without_any_picture_among_the_candidates_count_nothing() -> None:
    words, products, images = _views([1], 0), _views([1], 1), _views([3], 2)
    for views in (words, products, images):
        views.vectors_NE.requires_grad_()
    loss = alignment(words, products, images, SCALE, (6,))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert bool(torch.isfinite(words.vectors_NE.grad).all())  # type: ignore[arg-type]
