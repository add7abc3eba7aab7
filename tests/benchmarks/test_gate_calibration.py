"""The gate's rule keeps its level and its printed power on simulated pairs; a rule that forgets the groups does not."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.gate_calibration.rules import (
    RULES,
    Sample,
    cluster_bootstrap,
    cluster_t,
    exact_flips,
    item_t,
    mid_p_flips,
)
from benchmarks.gate_calibration.tables import gate_table, rules_table
from benchmarks.gate_calibration.trials import judge_pairs
from benchmarks.gate_calibration.worlds import LAYOUTS, OWN_GROUP, SHARED_GROUP, SHARED_ITEM, World
from validation.statistics import Outcome, paired_test

ROOT = Path(__file__).parents[2]
LEVEL = 0.05
DEMO = World("demo, photos")


def differences(world: World, pairs: int, drop: float = 0.0, seed: int = 0) -> np.ndarray:
    ours, theirs = world.draw(pairs, drop, np.random.default_rng(seed))
    return ours - theirs


def test_alarms_at_equal_pairs_lie_in_the_binomial_interval_of_the_level() -> None:
    trial = judge_pairs(DEMO, pairs=200, drop=0.03, true_drop=0.0, level=LEVEL, seed=0)
    low, high = trial.expected(LEVEL)
    assert (low, high) == (4, 16)
    assert low <= trial.alarms <= high


def test_a_loss_of_three_points_is_caught_as_often_as_the_printed_power_says() -> None:
    trial = judge_pairs(DEMO, pairs=200, drop=0.03, true_drop=0.03, level=LEVEL, seed=1)
    low, high = trial.expected(trial.power)
    assert 0.1 < trial.power < 0.9
    assert low <= trial.alarms <= high


def test_a_larger_loss_is_caught_more_often_and_as_often_as_printed() -> None:
    trial = judge_pairs(World("60 x 4"), pairs=200, drop=0.06, true_drop=0.06, level=LEVEL, seed=2)
    low, high = trial.expected(trial.power)
    assert trial.power > 0.4
    assert low <= trial.alarms <= high


def test_a_rule_that_takes_items_for_independent_has_too_many_alarms() -> None:
    world = World("60 x 4", own_group=(0.3, 0.3))
    sample = Sample.of(differences(world, 2000), world.sizes)
    low, high = stats.binom.interval(0.95, 2000, LEVEL)
    assert np.sum(item_t(sample, LEVEL)[1] < 0) > 2 * high
    assert low <= np.sum(mid_p_flips(sample, LEVEL)[1] < 0) <= high


def test_a_rule_by_point_estimate_alarms_at_every_second_equal_pair() -> None:
    assert 80 < np.sum(differences(DEMO, 200).mean(axis=1) < 0) < 120


def test_both_encoders_have_the_scores_they_are_said_to_have() -> None:
    ours, theirs = World("250 x 4", score=0.7).draw(300, 0.03, np.random.default_rng(0))
    assert ours.mean() == pytest.approx(0.67, abs=0.006)
    assert theirs.mean() == pytest.approx(0.7, abs=0.006)
    ours, theirs = World("250 x 4", kind="ranks").draw(300, 0.03, np.random.default_rng(0))
    assert (ours - theirs).mean() == pytest.approx(-0.03, abs=0.003)
    assert set(np.round(1 / np.unique(theirs)).astype(int)) <= set(range(1, 101))


def test_encoders_disagree_as_often_as_the_shares_of_variance_say() -> None:
    values = differences(World("250 x 4", score=0.5), 200)
    # Orthants of two standard normals that correlate: Sheppard, 1899.
    assert np.mean(values != 0) == pytest.approx(math.acos(SHARED_GROUP + SHARED_ITEM) / math.pi, abs=0.01)
    by_group = np.square(values.reshape(200, 250, 4).sum(axis=2)).mean() / np.square(values).mean()
    assert 4.0 < by_group / (1 - OWN_GROUP) < 8.0  # 4 is no tie within groups, 16 one answer a group


def test_layouts_are_those_of_the_test_sides() -> None:
    told = {name: (sum(sizes), len(sizes)) for name, sizes in LAYOUTS.items()}
    assert told["Luma, categories"] == (81, 33)
    assert told["demo, categories"] == (136, 77)
    assert told["demo, photos"] == (306, 77)


def test_sums_of_groups_equal_a_loop() -> None:
    sizes = np.array([2, 1, 3])
    sample = Sample.of(np.arange(12.0).reshape(2, 6), sizes)
    assert sample.sums.tolist() == [[1, 2, 12], [13, 8, 30]]
    assert sample.means.tolist() == [2.5, 8.5]
    assert sample.squares[0] == 55


def test_t_rules_equal_scipys_where_every_group_is_one_item() -> None:
    values = np.random.default_rng(3).normal(0.1, 1, (4, 50))
    sample = Sample.of(values, np.ones(50, dtype=int))
    for rule in (cluster_t, item_t):
        lows, highs = rule(sample, LEVEL)
        for own, low, high in zip(values, lows, highs, strict=True):
            expected = stats.ttest_1samp(own, 0).confidence_interval(0.9)
            assert (low, high) == pytest.approx((expected.low, expected.high))


def test_the_bootstrap_equals_scipys_where_every_group_is_one_item() -> None:
    values = np.random.default_rng(4).random(60)
    low, high = cluster_bootstrap(Sample.of(values[None], np.ones(60, dtype=int)), LEVEL)
    theirs = stats.bootstrap((values,), np.mean, confidence_level=0.9, method="percentile", rng=1).confidence_interval
    assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_exact_flips_alarm_where_brute_force_does() -> None:
    values = np.random.default_rng(5).normal(-0.3, 0.8, (30, 10))
    signs = np.array(list(itertools.product([-1, 1], repeat=10)))
    p = (values @ signs.T <= values.sum(axis=1, keepdims=True) + 1e-9).mean(axis=1)
    alarms = exact_flips(Sample.of(values, np.ones(10, dtype=int)), LEVEL)[1] < 0
    plain = np.abs(p - LEVEL) > 0.015  # the halves are drawn, not listed
    assert p[plain].size > 5
    assert (alarms == (p <= LEVEL))[plain].all()


def test_the_compared_rule_is_the_gates_own() -> None:
    values = differences(DEMO, 60, 0.05)
    groups = tuple(str(number) for number, size in enumerate(DEMO.sizes) for _ in range(size))
    ids, zeros = tuple(map(str, range(len(groups)))), np.zeros(len(groups))
    tests = [paired_test(Outcome(ids, groups, own), Outcome(ids, groups, zeros)) for own in values]
    lows, highs = mid_p_flips(Sample.of(values, DEMO.sizes), LEVEL)
    assert lows == pytest.approx([test.low for test in tests], abs=0.01)
    assert highs == pytest.approx([test.high for test in tests], abs=0.01)
    assert np.sum((highs < 0) != [test.shown_worse for test in tests]) <= 2
    assert 10 < sum(test.shown_worse for test in tests) < 50


def test_the_page_shows_the_figures_that_were_measured() -> None:
    told = json.loads((ROOT / "benchmarks/results/gate_calibration.json").read_text("utf-8"))
    page = (ROOT / "docs/CALIBRATION.md").read_text("utf-8")
    for rows in (told["judged_200"], told["judged_2000"]):
        assert gate_table(rows) in page
    assert rules_table(told["compared_2000"], list(RULES)) in page
