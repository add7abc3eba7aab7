"""The paired test against scipy, brute force over sign flips, naive loops and the jackknife."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from validation.errors import BenchmarkError
from validation.statistics import Outcome, difference_interval, holm, paired_test, pooled


def pair(differences: Sequence[float], groups: Sequence[object] | None = None) -> tuple[Outcome, Outcome]:
    """Two outcomes that differ by so much, item by item."""
    ids = tuple(str(number) for number in range(len(differences)))
    names = ids if groups is None else tuple(str(one) for one in groups)
    theirs = np.linspace(0.3, 0.7, len(differences))
    return Outcome(ids, names, theirs + np.asarray(differences, dtype=float)), Outcome(ids, names, theirs)


def clustered(seed: int, num_groups: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Differences of -1, 0 and 1 in groups of 1 to 5, and the group of each."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, num_groups)
    groups = np.repeat(np.arange(num_groups), sizes)
    lean = rng.normal(0, 0.8, num_groups)[groups] + rng.normal(0, 0.8, len(groups))
    return np.clip(np.round(lean), -1, 1), groups


def flips(sums: np.ndarray) -> tuple[float, float]:
    """Shares of all sign flips of the groups' sums that look worse than what is seen, and as bad."""
    seen = sums.sum()
    totals = [sum(sign * one for sign, one in zip(signs, sums, strict=True)) for signs in SIGNS[len(sums)]]
    worse = sum(total < seen - 1e-9 for total in totals)
    return worse / len(totals), sum(abs(total - seen) <= 1e-9 for total in totals) / len(totals)


SIGNS = {size: list(itertools.product([-1, 1], repeat=size)) for size in range(1, 11)}


@pytest.mark.parametrize("seed", range(8))
def test_p_equals_brute_force_over_all_sign_flips(seed: int) -> None:
    values, groups = clustered(seed, 9)
    worse, as_bad = flips(np.bincount(groups, values))
    assert paired_test(*pair(values, groups)).p_worse == pytest.approx(worse + as_bad / 2)


@pytest.mark.parametrize("seed", range(4))
def test_p_of_a_mean_of_metrics_equals_brute_force(seed: int) -> None:
    values, groups = clustered(seed, 8)
    some = np.flatnonzero(np.random.default_rng(seed).random(len(values)) < 0.6)
    first, second = pair(values, groups), pair(np.roll(values, 2)[some], groups[some])
    found = paired_test([first[0], second[0]], [first[1], second[1]])
    sums = np.bincount(groups, values) / len(values)
    sums += np.bincount(groups[some], np.roll(values, 2)[some], minlength=8) / len(some)
    worse, as_bad = flips(sums)
    assert found.value == pytest.approx(sums.sum() / 2)
    assert found.p_worse == pytest.approx(worse + as_bad / 2)
    assert found.n == len(values) + len(some)


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_holds_just_the_differences_that_no_brute_force_flip_test_rules_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, 9)
    groups = np.repeat(np.arange(9), sizes)
    # Losses so plain that nothing is widened to the upper side.
    values = rng.normal(-0.4, 0.2, 9)[groups] + rng.normal(0, 0.05, len(groups))
    found, sums = paired_test(*pair(values, groups), level=0.05), np.bincount(groups, values)
    assert found.shown_worse
    for moved in (-0.01, -0.001, 0.001, 0.01):
        worse, as_bad = flips(sums - (found.high + moved) * sizes)
        assert (worse + as_bad / 2 > 0.05) == (moved < 0)


@pytest.mark.parametrize(("losses", "wins", "ties"), [(4, 0, 6), (7, 2, 30), (12, 5, 80), (20, 9, 200), (9, 9, 9)])
def test_on_hits_in_groups_of_one_it_is_mcnemars_mid_p_test(losses: int, wins: int, ties: int) -> None:
    found = paired_test(*pair([-1.0] * losses + [1.0] * wins + [0.0] * ties))
    expected = stats.binom.cdf(wins - 1, losses + wins, 0.5) + 0.5 * stats.binom.pmf(wins, losses + wins, 0.5)
    assert found.p_worse == pytest.approx(expected, abs=3 * math.sqrt(0.25 / 4000) * min(1, 2 * expected**0.5))


def test_smooth_values_in_groups_of_one_agree_with_scipys_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(60), rng.random(60) + 0.1
    ids = tuple(map(str, range(60)))
    found = paired_test(Outcome(ids, ids, ours), Outcome(ids, ids, theirs), level=0.05)
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.9)
    assert found.value == pytest.approx((ours - theirs).mean())
    assert found.p_worse == pytest.approx(stats.ttest_rel(ours, theirs, alternative="less").pvalue, abs=0.01)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.012)
    assert (found.n, found.num_groups) == (60, 60)


def test_p_agrees_with_scipys_permutation_test() -> None:
    rng = np.random.default_rng(7)
    ours, theirs = rng.random(60), rng.random(60) + 0.08

    def mean_difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(a - b, axis=axis)

    expected = stats.permutation_test(
        (ours, theirs),
        mean_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        alternative="less",
        rng=1,
    )
    assert paired_test(*pair(ours - theirs)).p_worse == pytest.approx(expected.pvalue, abs=0.012)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_near_that_of_the_t_test_of_group_means_where_groups_are_many(seed: int) -> None:
    values, _ = clustered(seed, 400)
    values = values[: len(values) // 4 * 4].reshape(-1, 4)
    found = paired_test(*pair(values.ravel(), np.repeat(np.arange(len(values)), 4)))
    interval = stats.ttest_1samp(values.mean(axis=1), 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.012)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_a_mean_of_metrics_agrees_with_leaving_out_one_group_at_a_time(seed: int) -> None:
    often, groups = clustered(seed, 80)
    some = np.flatnonzero(np.random.default_rng(seed).random(len(often)) < 0.6)
    seldom, few = np.roll(often, 3)[some], groups[some]
    first, second = pair(often, groups), pair(seldom, few)
    found = paired_test([first[0], second[0]], [first[1], second[1]], drop=0.2)
    without = [(often[groups != group].mean() + seldom[few != group].mean()) / 2 for group in range(80)]
    jackknife = math.sqrt(79 / 80 * np.square(np.array(without) - np.mean(without)).sum())
    expected = stats.norm.cdf(0.2 / jackknife - 1.645 * math.sqrt(1 + (0.2 / jackknife) ** 2 / 60))
    assert found.power == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("num_groups", [1, 2, 3])
def test_too_few_groups_show_nothing(num_groups: int) -> None:
    found = paired_test(*pair([-1.0] * num_groups * 3, list(range(num_groups)) * 3), level=0.05)
    assert not found.shown_worse
    assert found.p_worse == 0.5 ** (num_groups + 1)
    assert (found.low, found.high, found.power, found.smallest_drop) == (-1.0, 1.0, 0.0, math.inf)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["smallest_drop"] is None


def test_four_groups_that_all_lose_are_enough_however_many_tie() -> None:
    assert paired_test(*pair([-1.0] * 4), level=0.05).shown_worse
    for ties in (1, 10, 100, 1000):
        assert paired_test(*pair([-1.0] * 5 + [0.0] * ties)).shown_worse
        assert not paired_test(*pair([-1.0] * 3 + [0.0] * ties)).shown_worse


@pytest.mark.parametrize("num_groups", [5, 28, 77, 1000])
def test_no_difference_anywhere_is_as_wide_as_wilson_over_the_groups(num_groups: int) -> None:
    groups = [str(number) for number in range(num_groups)] * 2
    found = paired_test(*pair([0.0] * 2 * num_groups, groups), level=0.05)
    expected = difference_interval([(np.zeros(len(groups)), groups)], num_bootstrap=10, confidence=0.9, seed=0)
    assert (found.low, found.high) == pytest.approx(expected)
    assert (found.value, found.p_worse) == (0.0, 0.5)
    assert 0.0 <= found.power <= 1.0
    assert not found.shown_worse


def test_one_loss_among_ties_does_not_prove_that_there_is_no_gain() -> None:
    found = paired_test(*pair([-1.0] + [0.0] * 27))
    assert found.low < -1 / 28 < 0 < found.high
    assert found.power < 0.1


def test_a_small_loss_in_every_group_is_shown() -> None:
    found = paired_test(*pair([-0.01] * 40))
    assert found.shown_worse
    assert found.high == pytest.approx(-0.01)


def test_the_same_items_under_five_seeds_are_no_new_evidence() -> None:
    values, groups = clustered(3)
    ours, theirs = pair(values, groups)
    once, five = paired_test(ours, theirs), paired_test(pooled([ours] * 5), pooled([theirs] * 5))
    assert (five.value, five.low, five.high) == pytest.approx((once.value, once.low, once.high))
    assert (five.n, five.num_groups) == (5 * once.n, once.num_groups)


def test_items_are_paired_by_id_and_not_by_place() -> None:
    ours, theirs = pair(*clustered(4))
    turned = Outcome(theirs.ids[::-1], theirs.groups[::-1], theirs.values[::-1])
    assert paired_test(ours, turned) == paired_test(ours, theirs)


def test_lower_is_better_turns_the_signs() -> None:
    ours, theirs = pair([3.0, 5.0, 2.0, 8.0, 4.0, 6.0])
    ranks = paired_test(ours, theirs, higher_is_better=False)
    assert ranks.value == pytest.approx(-28 / 6)
    assert ranks.shown_worse
    assert not paired_test(ours, theirs).shown_worse


def test_a_tolerated_loss_is_no_regression() -> None:
    ours, theirs = pair(np.random.default_rng(5).normal(-0.04, 0.05, 100))
    strict, lenient = paired_test(ours, theirs), paired_test(ours, theirs, tolerance=0.05)
    assert strict.shown_worse
    assert not lenient.shown_worse
    assert lenient.p_worse > 0.05 > strict.p_worse
    assert lenient.power < strict.power
    assert lenient.smallest_drop == pytest.approx(strict.smallest_drop + 0.05)


rows_of = st.lists(st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), st.integers(0, 15)), min_size=1)
Rows = list[tuple[float, int]]


@given(rows_of, st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from([0.0, 0.02, 0.3]))
def test_rule_and_p_agree_and_the_interval_holds_the_value(rows: Rows, level: float, tolerance: float) -> None:
    found = paired_test(*pair(*zip(*rows, strict=True)), level=level, tolerance=tolerance)
    assert found.shown_worse == (found.p_worse <= level)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert 0.0 <= found.power <= 1.0
    assert found.smallest_drop > tolerance


@given(rows_of, st.data())
def test_making_one_answer_worse_never_takes_back_an_alarm(rows: Rows, data: st.DataObject) -> None:
    values, groups = zip(*rows, strict=True)
    place = data.draw(st.integers(0, len(rows) - 1))
    worse = list(values)
    worse[place] -= data.draw(st.sampled_from([0.1, 1.0, 50.0]))
    before, after = paired_test(*pair(values, groups)), paired_test(*pair(worse, groups))
    assert after.p_worse <= before.p_worse
    assert after.shown_worse or not before.shown_worse


@given(rows_of)
def test_turning_the_pair_round_mirrors_the_interval(rows: Rows) -> None:
    ours, theirs = pair(*zip(*rows, strict=True))
    one, other = paired_test(ours, theirs), paired_test(theirs, ours)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.p_worse == pytest.approx(1.0 - other.p_worse)
    assert (one.power, one.smallest_drop) == pytest.approx((other.power, other.smallest_drop))


def test_what_cannot_be_paired_is_refused() -> None:
    ours, theirs = pair([0.1] * 6)
    with pytest.raises(BenchmarkError, match="different items"):
        paired_test(ours, Outcome(("x", *theirs.ids[1:]), theirs.groups, theirs.values))
    with pytest.raises(BenchmarkError, match="grouped differently"):
        paired_test(ours, Outcome(theirs.ids, ("x", *theirs.groups[1:]), theirs.values))
    with pytest.raises(BenchmarkError, match="an item twice"):
        paired_test(*[Outcome(("a", "a"), ("a", "a"), np.zeros(2))] * 2)
    with pytest.raises(BenchmarkError, match="no item"):
        paired_test(*[Outcome((), (), np.zeros(0))] * 2)
    with pytest.raises(BenchmarkError, match="same metrics"):
        paired_test([ours], [theirs, theirs])
    with pytest.raises(BenchmarkError, match="same metrics"):
        paired_test([], [])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_by_name(bad: float) -> None:
    ours, theirs = pair([0.1] * 6)
    ours.values[4] = bad
    with pytest.raises(BenchmarkError, match=r"not a finite number\n  got:     4"):
        paired_test(ours, theirs)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, -0.1, math.nan])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(BenchmarkError, match="level"):
        paired_test(*pair([0.1] * 6), level=level)


@given(st.lists(st.floats(0.0, 1.0), max_size=7))
def test_holm_equals_the_closed_test_of_all_subsets(p_values: list[float]) -> None:
    found = holm(p_values)
    assert len(found) == len(p_values)
    for place, adjusted in enumerate(found):
        others = [number for number in range(len(p_values)) if number != place]
        subsets = (
            set(more) | {place} for size in range(len(p_values)) for more in itertools.combinations(others, size)
        )
        worst = max(min(1.0, len(own) * min(p_values[number] for number in own)) for own in subsets)
        assert adjusted == pytest.approx(worst)
