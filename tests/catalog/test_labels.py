"""Label texts never collide; the zero-shot decision equals a plain loop and admits its ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from catalog import ModelError, labels
from catalog.labels import argmax_label, attribute_label, category_label

levels = st.lists(st.text(st.characters(blacklist_characters=">"), min_size=1).map(str.strip).filter(bool), min_size=1)


def unit(array):
    array = array + 1e-3 * (np.abs(array).sum(axis=1, keepdims=True) == 0)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


@given(levels, levels)
def test_different_paths_read_differently(one, other):
    assert (category_label(one) == category_label(other)) == (one == other)


def test_texts():
    assert category_label(("Men",)) == "Men"
    assert category_label(("Men", "Tops", "Tees")) == "Men > Tops > Tees"
    assert attribute_label("eco_collection", "Yes") == "eco collection: Yes"
    with pytest.raises(ValueError, match="at least one level"):
        category_label(())


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.just(4)), elements=st.integers(-3, 3)),
    hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(4)), elements=st.integers(-3, 3)),
)
def test_decision_equals_a_plain_loop(items, candidates):
    items, candidates = unit(items), unit(candidates)
    best, tied = argmax_label(items.astype(np.float32), candidates.astype(np.float32))
    for row, item in enumerate(items):
        scores = [float(item @ candidate) for candidate in candidates]
        winners = [index for index, score in enumerate(scores) if score >= max(scores) - 1e-5]
        assert best[row] in winners
        assert tied[row] == (len(winners) > 1)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    items, candidates = unit(rng.normal(size=(50, 8))), unit(rng.normal(size=(7, 8)))
    whole = argmax_label(items, candidates)
    monkeypatch.setattr(labels, "_MAX_SCORES", 7 * 3)
    np.testing.assert_array_equal(argmax_label(items, candidates), whole)


def test_constant_encoder_ties_everywhere():
    rng = np.random.default_rng(1)
    constant = unit(rng.normal(size=(1, 63))).astype(np.float32)
    _, tied = argmax_label(np.repeat(constant, 37, axis=0), np.repeat(constant, 101, axis=0))
    assert tied.all()


def test_one_label_is_no_tie_and_no_item_is_no_answer():
    one = np.eye(3, dtype=np.float32)
    best, tied = argmax_label(one, one[:1])
    assert not best.any()
    assert not tied.any()
    assert argmax_label(one[:0], one)[0].shape == (0,)


@pytest.mark.parametrize(
    ("items", "candidates"),
    [
        (np.eye(3), np.eye(4)),
        (np.eye(3), np.zeros((0, 3))),
        (np.full((1, 3), np.nan), np.eye(3)),
        (np.eye(3), np.full((1, 3), np.inf)),
    ],
)
def test_misfits_are_refused(items, candidates):
    with pytest.raises(ModelError):
        argmax_label(items, candidates)
