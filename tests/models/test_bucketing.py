"""Length buckets: every row once, the order restored, never more padding than without."""

from __future__ import annotations

import itertools
import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.batch import TokenSequence, collate, joined
from models.bucketing import Buckets, bucket, unsorted

LENGTHS = st.lists(st.integers(1, 60), max_size=40)


@given(LENGTHS, st.integers(1, 12), st.integers(1, 300))
def test_every_row_once_and_within_the_limits(lengths: list[int], rows: int, tokens: int) -> None:
    made = bucket(lengths, rows_per_chunk=rows, tokens_per_chunk=tokens)
    assert sorted(made.order) == list(range(len(lengths)))
    for chunk in made.chunks:
        assert 1 <= len(chunk) <= rows
        assert len(chunk) == 1 or len(chunk) * max(lengths[row] for row in chunk) <= tokens


@given(LENGTHS, st.integers(1, 12))
def test_order_is_restored(lengths: list[int], rows: int) -> None:
    made = bucket(lengths, rows_per_chunk=rows)
    items = [f"row {number}" for number in range(len(lengths))]
    laid = [int(item.split()[1]) for chunk in made.split(items) for item in chunk]
    values = torch.tensor(laid, dtype=torch.float32).reshape(-1, 1).repeat(1, 2)
    assert made.restore(values)[:, 1].tolist() == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 12), st.randoms(use_true_random=False))
def test_padding_is_never_above_unsorted(lengths: list[int], rows: int, shuffle: random.Random) -> None:
    made = bucket(lengths, rows_per_chunk=rows)
    shuffled = list(lengths)
    shuffle.shuffle(shuffled)
    assert made.tokens <= unsorted(shuffled, rows).tokens
    assert made.padding_frac <= unsorted(shuffled, rows).padding_frac + 1e-12
    assert len(made.chunks) == len(unsorted(lengths, rows).chunks)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_no_other_filling_of_these_chunks_is_better(lengths: list[int], rows: int) -> None:
    made = bucket(lengths, rows_per_chunk=rows)
    sizes = [len(chunk) for chunk in made.chunks]
    for order in itertools.permutations(range(len(lengths))):
        ends = list(itertools.accumulate(sizes))
        chunks = tuple(order[end - size : end] for size, end in zip(sizes, ends, strict=True))
        assert made.tokens <= Buckets(chunks, tuple(lengths)).tokens


def test_the_longest_rows_come_first_and_equal_ones_keep_their_order() -> None:
    made = bucket([3, 5, 3, 9, 5], rows_per_chunk=2)
    assert made.chunks == ((3,), (1, 4), (0, 2))
    assert made.tokens == 9 + 2 * 5 + 2 * 3
    assert made.padding_frac == 0.0


def test_a_row_above_the_limit_stands_alone() -> None:
    assert bucket([2, 50, 3], tokens_per_chunk=8).chunks == ((1,), (2, 0))


def test_without_limits_all_rows_are_one_chunk() -> None:
    assert bucket([1, 2, 3]).chunks == ((2, 1, 0),)
    assert bucket([]).chunks == ()
    assert bucket([]).padding_frac == 0.0
    assert bucket([]).restore(torch.zeros(0, 4)).shape == (0, 4)


def test_restoring_passes_gradients_to_the_right_rows() -> None:
    made = bucket([1, 3, 2])
    values = torch.randn(3, 2, requires_grad=True)
    weights = torch.tensor([1.0, 10.0, 100.0])
    (made.restore(values).sum(dim=1) * weights).sum().backward()
    assert values.grad is not None
    assert values.grad[:, 0].tolist() == [10.0, 100.0, 1.0]


def test_batches_joined_are_their_rows_one_below_the_other() -> None:
    def sequence(length: int, pictures: int) -> TokenSequence:
        ids = list(range(1, length + 1))
        return TokenSequence(ids, [3] * length, [(i, i, i) for i in ids], pictures)

    parts = [[sequence(3, 1), sequence(2, 0)], [sequence(5, 2)], [sequence(1, 0), sequence(4, 1)]]
    slots = [[4], [0, 2], [1]]
    alone = [collate(items, own) for items, own in zip(parts, slots, strict=True)]
    together = joined(alone)
    expected = collate([item for items in parts for item in items], [slot for own in slots for slot in own])
    for name in ("ids_BL", "types_BL", "positions_3BL", "slot_picture_S", "slot_row_S"):
        assert torch.equal(getattr(together, name), getattr(expected, name)), name
    assert torch.equal(together.rows(torch.tensor([2])).ids_BL, alone[1].ids_BL)
