"""Outcomes item by item, and differences in pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from validation.benchmark import judge, run_benchmark
from validation.config import BenchmarkConfig
from validation.errors import BenchmarkError
from validation.rivals.knows_nothing import RandomVectors
from validation.statistics import (
    Outcome,
    outcomes_from_dict,
    outcomes_to_dict,
    paired_difference,
    pooled,
    without_slices,
)

HOW = {"num_bootstrap": 1000, "confidence": 0.95, "seed": 0}


def _outcome(values: list[float], groups: int = 50, prefix: str = "") -> Outcome:
    ids = tuple(f"{prefix}{number}" for number in range(len(values)))
    return Outcome(ids, tuple(f"g{number % groups}" for number in range(len(values))), np.asarray(values))


def test_items_are_paired_by_id_and_not_by_place() -> None:
    ours = _outcome([1, 0, 1, 1])
    turned = Outcome(ours.ids[::-1], ours.groups[::-1], ours.values[::-1])
    found = paired_difference([ours], [turned], **HOW)
    assert found.value == 0.0
    assert -1 < found.low < 0 < found.high < 1  # four items prove nothing, not even equality


def test_interval_agrees_with_the_normal_approximation() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.integers(0, 2, 2000).astype(float), rng.integers(0, 2, 2000).astype(float)
    found = paired_difference([_outcome(list(ours), 2000)], [_outcome(list(theirs), 2000)], **HOW)
    differences = ours - theirs
    half = 1.96 * differences.std() / 2000**0.5
    assert found.value == pytest.approx(differences.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def test_the_same_items_under_five_seeds_are_no_new_evidence() -> None:
    rng = np.random.default_rng(4)
    ours, theirs = (list(rng.integers(0, 2, 100).astype(float)) for _ in range(2))
    once = paired_difference([_outcome(ours)], [_outcome(theirs)], **HOW)
    five = paired_difference([pooled([_outcome(ours)] * 5)], [pooled([_outcome(theirs)] * 5)], **HOW)
    assert (five.value, five.low, five.high) == pytest.approx((once.value, once.low, once.high))
    assert five.n == 500


def test_several_metrics_are_averaged_however_many_items_each_has() -> None:
    found = paired_difference(
        [_outcome([1.0] * 10), _outcome([0.0] * 90)], [_outcome([0.0] * 10), _outcome([0.0] * 90)], **HOW
    )
    assert found.value == 0.5


def test_other_items_are_refused() -> None:
    with pytest.raises(BenchmarkError, match="different items"):
        paired_difference([_outcome([1, 0])], [_outcome([1, 0], prefix="x")], **HOW)


def test_outcomes_say_what_the_scores_say(eval_set) -> None:  # type: ignore[no-untyped-def]
    cfg = BenchmarkConfig(num_bootstrap=100)
    record, outcomes = judge(RandomVectors(), eval_set, cfg)
    assert record.scores == run_benchmark(RandomVectors(), eval_set, cfg).scores
    told = {**record.scores, **record.slices}
    assert set(record.slices) < set(outcomes) <= set(told)
    assert set(without_slices(outcomes)) == set(outcomes) & set(record.scores)
    for key, outcome in outcomes.items():
        assert told[key].value == pytest.approx(outcome.values.mean(), abs=1e-6)
        assert told[key].n == len(outcome.ids)
    stored = outcomes_from_dict(outcomes_to_dict(outcomes))
    # A third is kept as 0.333333: were it compared with 1/3, an encoder would lose against itself.
    assert all(np.array_equal(stored[key].values, outcome.values) for key, outcome in outcomes.items())


def test_outcomes_come_back_and_keep_their_items_once_for_all_metrics() -> None:
    one, other = _outcome([0.0, 1.0, 1 / 3]), _outcome([1.0, 0.0, 0.25])
    plain = json.loads(json.dumps(outcomes_to_dict({"a/mrr": one, "a/recall@1": other, "b/mrr": _outcome([1.0])})))
    assert len(plain["items"]) == 2
    found = outcomes_from_dict(plain)
    assert list(found) == ["a/mrr", "a/recall@1", "b/mrr"]
    assert (found["a/mrr"].ids, found["a/mrr"].groups) == (one.ids, one.groups)
    assert found["a/mrr"].values == pytest.approx(one.values, abs=1e-6)
    assert found["a/recall@1"].values.tolist() == [1.0, 0.0, 0.25]


@pytest.mark.parametrize("data", [{}, {"items": [], "values": {"a": [0, [1.0]]}}, {"items": [{}], "values": {}}])
def test_damaged_outcomes_are_refused(data: dict) -> None:
    with pytest.raises(BenchmarkError, match="damaged"):
        outcomes_from_dict(data)
