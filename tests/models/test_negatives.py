"""False-negative masks by brute force."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.negatives import answers, guarded, same_key, shares_photo

KEYS = st.lists(st.sampled_from("abc"), min_size=1, max_size=6)


@given(KEYS, KEYS)
def test_same_key(left: list[str], right: list[str]) -> None:
    mask = same_key(left, right)
    for (i, a), (j, b) in itertools.product(enumerate(left), enumerate(right)):
        assert bool(mask[i, j]) == (a == b)


@given(st.lists(st.frozensets(st.sampled_from("abc")), min_size=1, max_size=5), KEYS)
def test_answers(accepted: list[frozenset[str]], ids: list[str]) -> None:
    mask = answers(accepted, ids)
    for (i, a), (j, b) in itertools.product(enumerate(accepted), enumerate(ids)):
        assert bool(mask[i, j]) == (b in a)


def test_no_photo_is_shared_with_nobody() -> None:
    mask = shares_photo(["x", ""], [frozenset(("x", "y")), frozenset(("",))])
    assert mask.tolist() == [[True, False], [False, False]]


def test_guard_is_relative_to_the_positive() -> None:
    similarity = torch.tensor([[0.2, 0.6, 0.45], [0.9, 0.95, 0.1]])
    positive = torch.tensor([[True, False, False], [True, False, False]])
    assert guarded(similarity, positive, 0.3).tolist() == [[False, True, False], [False, False, False]]


def test_guard_lets_collapsed_vectors_learn() -> None:
    similarity = torch.full((4, 4), 0.999)
    assert not bool(guarded(similarity, torch.eye(4, dtype=torch.bool), 0.3).any())
