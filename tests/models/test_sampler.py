"""The batch sampler across ranks: nothing twice, nothing lost, categories kept together, one rank as ever."""

from __future__ import annotations

import logging
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import ModelError
from models.training.sampler import BatchSampler, category_key


def _sampler(num: int, categories: int, batch_size: int, hard: int, seed: int = 1) -> BatchSampler:
    ids = [f"p{number:03d}" for number in range(num)]
    return BatchSampler(ids, {key: str(n % categories) for n, key in enumerate(ids)}, batch_size, hard, seed)


def _chunks(sampler: BatchSampler, epoch: int) -> list[list[str]]:
    """The chunks of an epoch, written down anew: shuffle, group, cut, shuffle."""
    rng = np.random.default_rng((sampler.seed, epoch, 0))
    shuffled = [sampler.product_ids[index] for index in rng.permutation(len(sampler.product_ids))]
    groups: dict[str, list[str]] = defaultdict(list)
    for key in shuffled:
        groups[sampler.category_of[key]].append(key)
    size = sampler.chunk_size
    chunks = [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]
    return [chunks[index] for index in rng.permutation(len(chunks))]


# products, categories, batch, hard negatives, ranks, step
SHAPES = st.tuples(
    st.integers(8, 60), st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.integers(1, 4), st.integers(0, 40)
)


@given(SHAPES)
@settings(deadline=None)
def test_one_rank_takes_slices_of_the_epochs_order(shape: tuple[int, ...]) -> None:
    num, categories, batch_size, hard, _, step = shape
    sampler = _sampler(num, categories, batch_size, hard)
    epoch, number = divmod(step, sampler.batches_per_epoch)
    order = [key for chunk in _chunks(sampler, epoch) for key in chunk]
    size = sampler.batch_size
    assert sampler.products(step) == order[number * size : (number + 1) * size]


@given(SHAPES)
@settings(deadline=None)
def test_ranks_share_the_larger_batch_of_one_rank(shape: tuple[int, ...]) -> None:
    num, categories, batch_size, hard, world, step = shape
    sampler = _sampler(num, categories, batch_size, hard)
    size = sampler.rank_batch_size(world)
    hands = [sampler.products(step, rank, world) for rank in range(world)]
    together = [key for hand in hands for key in hand]
    assert [len(hand) for hand in hands] == [size] * world
    assert len(set(together)) == len(together)
    assert set(together) == set(_sampler(num, categories, size * world, hard).products(step))


@given(SHAPES)
@settings(deadline=None)
def test_fewer_chunks_are_cut_than_there_are_ranks(shape: tuple[int, ...]) -> None:
    num, categories, batch_size, hard, world, step = shape
    sampler = _sampler(num, categories, batch_size, hard)
    epoch = step // sampler.steps_per_epoch(world)
    chunk_of = {key: number for number, chunk in enumerate(_chunks(sampler, epoch)) for key in chunk}
    hands = [{chunk_of[key] for key in sampler.products(step, rank, world)} for rank in range(world)]
    assert sum(len(hand) for hand in hands) - len(set().union(*hands)) <= world - 1


def test_no_chunk_is_cut_where_sizes_allow() -> None:
    # 4 categories of 24, chunks of 4, ranks of 8: every rank holds two whole chunks at every step.
    sampler = _sampler(96, 4, batch_size=8, hard=3)
    for step in range(sampler.steps_per_epoch(3)):
        for rank in range(3):
            members: dict[str, int] = defaultdict(int)
            for key in sampler.products(step, rank, 3):
                members[sampler.category_of[key]] += 1
            assert all(count % 4 == 0 for count in members.values())


def _mixed(seed: int = 1) -> BatchSampler:
    """48 products of four categories, and 48 of none."""
    keys = {f"p{number:03d}": str(number % 4) if number < 48 else "" for number in range(96)}
    return BatchSampler(list(keys), keys, batch_size=96, hard_negatives_per_query=3, seed=seed)


def test_products_without_a_category_are_no_hard_negatives_of_each_other() -> None:
    """In a batch of all, neighbours of one category are put together; those of none lie as chance has it."""
    without = 0
    for seed in range(40):
        sampler = _mixed(seed)
        order = [sampler.category_of[key] for key in sampler.products(0)]
        pairs = list(pairwise(order))
        without += sum(one == other == "" for one, other in pairs)
        # Chunks of four: at least three of four neighbours are of one's own category.
        assert sum(one == other != "" for one, other in pairs) >= 36
    # 60 units are shuffled, 48 of them alone: so many neighbours of them as 48 of 60 have in any order.
    expected = 40 * 48 * 47 / 60
    assert without == pytest.approx(expected, rel=0.05)


def test_products_with_a_category_meet_whoever_has_none() -> None:
    chunks = _mixed()._chunks(0)
    alone = [chunk for chunk in chunks if _mixed().category_of[chunk[0]] == ""]
    assert [len(chunk) for chunk in alone] == [1] * 48
    together = [chunk for chunk in chunks if _mixed().category_of[chunk[0]] != ""]
    assert [len(chunk) for chunk in together] == [4] * 12
    assert all(len({_mixed().category_of[key] for key in chunk}) == 1 for chunk in together)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_epoch_of_all_ranks_shows_every_product_once(world: int) -> None:
    sampler = _sampler(72, 5, batch_size=12, hard=2)
    assert sampler.steps_per_epoch(world) == 72 // (12 * world)
    seen = [
        key
        for step in range(sampler.steps_per_epoch(world))
        for rank in range(world)
        for key in sampler.products(step, rank, world)
    ]
    assert sorted(seen) == sampler.product_ids


def test_a_batch_depends_on_seed_step_and_rank_alone() -> None:
    one, two = _sampler(60, 4, 6, 2), _sampler(60, 4, 6, 2)
    for step in (0, 9, 3):
        two.products(step + 7, 0, 3)  # another history
        assert one.products(step, 1, 2) == two.products(step, 1, 2)
    assert one.products(0, 0, 2) != one.products(0, 1, 2)
    assert one.products(0, 0, 2) != one.products(one.steps_per_epoch(2), 0, 2)
    assert one.products(0, 0, 2) != _sampler(60, 4, 6, 2, seed=2).products(0, 0, 2)


def test_too_few_products_for_the_batch_shrink_every_rank_alike(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sampler = _sampler(10, 2, batch_size=64, hard=1)
    assert "10 products instead of 64" in caplog.text
    assert [len(sampler.products(0, rank, 3)) for rank in range(3)] == [3, 3, 3]


def test_more_ranks_than_products_are_refused() -> None:
    with pytest.raises(ModelError, match="more training processes than products") as caught:
        _sampler(4, 2, 2, 1).products(0, 0, 5)
    assert "lower train.num_processes" in caught.value.fix


def test_the_level_decides_what_hard_means() -> None:
    path = ("Home", "Kitchen", "Mug")
    assert category_key(path, -1) == category_key(path, 2) != category_key(path, 1)
    assert category_key(path, 0) == category_key(("Home", "Sofa"), 0)
    assert category_key((), -1) == ""


def test_an_epoch_shows_every_product_once_and_neighbours_share_a_category() -> None:
    ids = [f"p{number:03d}" for number in range(60)]
    category = {key: str(number % 4) for number, key in enumerate(ids)}
    sampler = BatchSampler(ids, category, batch_size=12, hard_negatives_per_query=2, seed=1)
    epoch = [key for step in range(sampler.batches_per_epoch) for key in sampler.products(step)]
    assert sorted(epoch) == ids
    alone = BatchSampler(ids, category, batch_size=12, hard_negatives_per_query=0, seed=1)

    def same(chosen: BatchSampler) -> float:
        batch = chosen.products(0)
        return float(np.mean([category[a] == category[b] for a, b in pairwise(batch)]))

    assert same(sampler) > 0.5 > same(alone)
    assert sampler.products(7) == BatchSampler(ids[::-1], category, 12, 2, 1).products(7)
    assert sampler.products(0) != sampler.products(sampler.batches_per_epoch)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ModelError, match="too few products"):
        BatchSampler(["p"], {"p": ""}, 4, 0, 1)


def test_category_keys() -> None:
    assert category_key(("a", "b", "c"), -1) == category_key(("a", "b", "c"), 2)
    assert category_key(("a", "b", "c"), 0) == category_key(("a", "x"), 0)
