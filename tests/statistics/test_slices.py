"""Scores by slice against a naive loop; the worst and the caution about it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.statistics import cluster_interval, score_slices

HOW = {"min_n": 5, "num_bootstrap": 400, "confidence": 0.95, "seed": 0}


def test_each_slice_equals_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.random(90), [f"g{number}" for number in rng.integers(0, 30, 90)]
    names = [str(name) for name in rng.choice(["a", "b", "c"], 90)]
    report = score_slices(values, groups, {"colour": names}, **HOW)
    assert [score.label for score in report.scores] == ["colour=a", "colour=b", "colour=c"]
    for score in report.scores:
        rows = [row for row in range(90) if names[row] == score.name]
        own = [groups[row] for row in rows]
        assert score.value == pytest.approx(sum(values[row] for row in rows) / len(rows))
        expected = cluster_interval(values[rows], own, num_bootstrap=400, confidence=0.95, seed=0)
        assert (score.low, score.high) == pytest.approx(expected)
        assert (score.n, score.num_groups) == (len(rows), len(set(own)))


def items(*parts: tuple[str, int, float]) -> tuple[np.ndarray, list[str], list[str]]:
    """Hits of each (slice, items, share), every item a group."""
    values = np.concatenate([np.arange(n) < round(share * n) for _, n, share in parts]).astype(float)
    names = [name for name, n, _ in parts for _ in range(n)]
    return values, [str(row) for row in range(len(names))], names


def test_a_slice_that_is_plainly_worse_is_named_and_shown() -> None:
    values, groups, names = items(("shoes", 60, 0.9), ("bags", 60, 0.9), ("hats", 60, 0.2))
    worst = score_slices(values, groups, {"category": names}, **HOW).worst
    assert worst is not None
    assert (worst.score.label, worst.num_compared, worst.shown) == ("category=hats", 3, True)
    assert worst.overall == pytest.approx(values.mean())
    assert "worst of 3 slices: category=hats 0.200" in str(worst)
    assert "beyond chance" in str(worst)


def test_the_worst_of_many_equal_slices_is_hardly_ever_shown() -> None:
    rng, alone, widened = np.random.default_rng(3), 0, 0
    for seed in range(30):
        values, names = (rng.random(400) < 0.6).astype(float), [str(row // 20) for row in range(400)]
        report = score_slices(
            values,
            [str(row) for row in range(400)],
            {"kind": names},
            **{**HOW, "num_bootstrap": 1000, "seed": seed},
        )
        assert report.worst is not None
        alone += report.worst.score.high < values.mean()
        widened += report.worst.shown
        assert report.worst.low <= report.worst.score.low
        assert report.worst.high >= report.worst.score.high
    # What the caution is for: by its own interval the worst of twenty equal slices often looks worse, one in 40 should.
    assert alone > 8
    assert widened <= 5


def test_the_worst_is_not_the_smallest_one_but_the_lowest() -> None:
    values, groups, names = items(("large", 200, 0.5), ("small", 6, 4 / 6))
    worst = score_slices(values, groups, {"category": names}, **HOW).worst
    assert worst is not None
    assert worst.score.name == "large"


def test_where_lower_is_better_the_worst_is_the_highest() -> None:
    values, groups, names = items(("a", 50, 0.1), ("b", 50, 0.9))
    worst = score_slices(values, groups, {"kind": names}, **HOW, higher_is_better=False).worst
    assert worst is not None
    assert (worst.score.name, worst.shown) == ("b", True)


def test_small_categories_are_pooled_and_said_so() -> None:
    values, groups, names = items(("a", 20, 1.0), ("b", 2, 0.0), ("c", 3, 0.0), ("d", 1, 1.0))
    report = score_slices(values, groups, {"category": names}, **HOW)
    assert [(score.name, score.n) for score in report.scores] == [("a", 20), ("other", 6)]
    assert report.scores[1].value == pytest.approx(1 / 6)
    assert report.notes == ("category: 3 slices with under 5 items each are pooled: b, c, d",)


def test_small_slices_of_other_kinds_are_left_out_and_said_so() -> None:
    values, groups, names = items(("image", 20, 1.0), ("text", 20, 0.0), ("none", 4, 0.0))
    report = score_slices(values, groups, {"modality": names}, **HOW)
    assert [score.name for score in report.scores] == ["image", "text"]
    assert report.notes == ("modality: left out, under 5 items each: none (4 items in all)",)


def test_a_shop_with_a_category_called_other_keeps_it() -> None:
    values, groups, names = items(("other", 20, 1.0), ("b", 3, 0.0), ("c", 3, 0.0))
    report = score_slices(values, groups, {"category": names}, **HOW)
    assert [(score.name, score.n) for score in report.scores] == [("other", 20), ("other (pooled)", 6)]


def test_one_slice_and_no_slice_tell_nothing() -> None:
    values, groups, names = items(("a", 20, 0.5), ("b", 1, 0.0))
    report = score_slices(values, groups, {"kind": names, "unknown": [""] * 21}, **HOW)
    assert report.scores == ()
    assert report.worst is None
    assert "kind: no comparison, all that is large enough is a" in report.notes
    assert "unknown: unknown for 21 of 21 items" in report.notes


def test_the_worst_is_sought_over_all_kinds() -> None:
    values, groups, names = items(("a", 30, 0.8), ("b", 30, 0.6))
    others = ["clean" if value else "cluttered" for value in values]
    worst = score_slices(values, groups, {"category": names, "background": others}, **HOW).worst
    assert worst is not None
    assert (worst.score.label, worst.num_compared) == ("background=cluttered", 4)


def test_names_for_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="kind: 2 names for 3 values"):
        score_slices(np.zeros(3), ["a", "b", "c"], {"kind": ["x", "y"]}, **HOW)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["", "a", "b", "c", "other"])), max_size=40))
def test_no_item_is_counted_twice_nor_lost_in_silence(rows: list[tuple[float, str]]) -> None:
    values, names = np.array([value for value, _ in rows]), [name for _, name in rows]
    report = score_slices(
        values, [str(row) for row in range(len(rows))], {"category": names}, **{**HOW, "num_bootstrap": 20}
    )
    counted = sum(score.n for score in report.scores)
    assert counted <= len(rows)
    assert counted == len(rows) or report.notes
    assert all(score.n >= 5 and score.low <= score.value + 1e-9 for score in report.scores)
