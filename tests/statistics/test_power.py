"""Power and smallest differences against closed forms and simulated experiments."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from validation.statistics import Outcome, cluster_interval, paired_test, power_of, smallest_difference, smallest_drop
from validation.statistics.power import Spread, fewest_groups

NORMAL = NormalDist()


MANY = Spread(0.02, 100_000, 100_000, 1e-5)


@pytest.mark.parametrize("drop", [0.0, 0.01, 0.03, 0.1])
def test_with_many_groups_power_is_the_normal_closed_form(drop: float) -> None:
    expected = NORMAL.cdf(drop / 0.02 - NORMAL.inv_cdf(0.95))
    assert power_of(drop, MANY, level=0.05) == pytest.approx(expected, abs=1e-3)


def test_no_true_loss_is_caught_as_often_as_the_level_says() -> None:
    few = Spread(0.3, 12, 12, 1 / 12)
    assert power_of(0.0, few, level=0.05) == pytest.approx(0.05)
    assert power_of(0.02, few, level=0.01, tolerance=0.02) == pytest.approx(0.01)


@pytest.mark.parametrize("num_groups", [6, 28, 400])
@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_smallest_drop_is_caught_with_the_power_asked_for(num_groups: int, share: float, power: float) -> None:
    spread = Spread(0.04, num_groups, share * num_groups, 1 / num_groups)
    drop = smallest_drop(spread, level=0.05, tolerance=0.01, power=power)
    assert power_of(drop, spread, level=0.05, tolerance=0.01) == pytest.approx(power)


def test_a_known_smallest_drop() -> None:
    assert smallest_drop(MANY, level=0.05) == pytest.approx(0.02 * (1.6449 + 0.8416), rel=1e-3)


@pytest.mark.parametrize("level", [0.5**3, 0.05, 0.01, 0.001])
def test_fewest_groups_are_those_whose_flips_reach_the_level_by_mid_p(level: float) -> None:
    fewest = fewest_groups(level)
    assert 0.5 ** (fewest + 1) <= level < 0.5**fewest
    too_few = Spread(0.01, fewest - 1, fewest - 1, 0.01)
    assert power_of(9.0, too_few, level=level) == 0.0
    assert smallest_drop(too_few, level=level) == math.inf
    assert power_of(9.0, Spread(0.01, fewest, fewest, 0.01), level=level) > 0.9


def test_one_group_that_has_nearly_all_items_shows_nothing_however_great_the_loss() -> None:
    assert smallest_drop(Spread(0.01, 30, 30, 0.9), level=0.05) == math.inf


@pytest.mark.parametrize("differing", [1.0, 4.0, 10.0])
def test_where_nearly_all_tie_power_is_the_chance_that_enough_differ(differing: float) -> None:
    enough = stats.binom.sf(3, 200, differing / 200)
    assert power_of(0.001, Spread(1e-6, 200, differing, 1 / 200), level=0.05) == pytest.approx(enough)
    assert power_of(0.5, Spread(1e-6, 200, differing, 1 / 200), level=0.05) == pytest.approx(1.0)


@given(
    st.floats(0.001, 0.3),
    st.integers(4, 300),
    st.floats(0.0, 1.0),
    st.floats(0.0, 0.3),
    st.floats(0.001, 0.5),
)
def test_a_greater_loss_is_never_harder_to_catch(
    error: float, num_groups: int, share: float, drop: float, more: float
) -> None:
    spread = Spread(error, num_groups, share * num_groups, 1 / num_groups)
    assert power_of(drop, spread, level=0.05) <= power_of(drop + more, spread, level=0.05) + 1e-9


def test_gaussian_losses_are_caught_as_often_as_printed() -> None:
    rng, caught, printed = np.random.default_rng(1), 0, []
    ids = tuple(map(str, range(60)))
    for _ in range(400):
        theirs = rng.random(60)
        ours = theirs + rng.normal(-0.05, 0.2, 60)
        found = paired_test(Outcome(ids, ids, ours), Outcome(ids, ids, theirs), level=0.05, drop=0.05)
        caught += found.shown_worse
        printed.append(found.power)
    low, high = stats.binom.interval(0.95, 400, np.mean(printed))
    assert low <= caught <= high
    assert 0.2 < np.mean(printed) < 0.9


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.9])
def test_a_forecast_of_a_share_is_that_of_its_discordance(correlation: float) -> None:
    half = NORMAL.inv_cdf(0.975) * math.sqrt(0.7 * 0.3 / 5000)
    found = smallest_difference(
        0.7 - half, 0.7 + half, 5000, confidence=0.95, level=0.05, power=0.8, correlation=correlation
    )
    discordance = 2 * 0.7 * 0.3 * (1 - correlation)
    expected = (NORMAL.inv_cdf(0.95) + NORMAL.inv_cdf(0.8)) * math.sqrt(discordance / 5000)
    assert found == pytest.approx(expected, rel=1e-3)


def test_a_forecast_comes_true_for_two_encoders_that_correlate_as_assumed() -> None:
    rng = np.random.default_rng(2)
    groups = [str(number // 4) for number in range(2000)]
    shared, own = rng.normal(0, 1, (2, 500)).repeat(4, axis=1)
    ours, theirs = (shared + part + rng.normal(0, 1, 2000) for part in (own, np.roll(own, 4)))
    correlation = float(np.corrcoef(ours, theirs)[0, 1])
    low, high = cluster_interval(ours, groups, num_bootstrap=4000, confidence=0.95, seed=0)
    forecast = smallest_difference(low, high, 500, confidence=0.95, level=0.05, correlation=correlation)
    ids = tuple(map(str, range(2000)))
    found = paired_test(Outcome(ids, tuple(groups), ours), Outcome(ids, tuple(groups), theirs))
    # Groups' values of the two correlate more than items' do; the forecast knows the items' alone.
    assert forecast == pytest.approx(found.smallest_drop, rel=0.2)


def test_a_forecast_from_too_few_groups_is_that_nothing_can_be_shown() -> None:
    assert smallest_difference(0.2, 0.8, 3, confidence=0.95) == math.inf


def test_a_score_without_width_forecasts_what_ties_leave_open() -> None:
    found = smallest_difference(0.5, 0.5, 50, confidence=0.95)
    ids = tuple(map(str, range(50)))
    ties = paired_test(*[Outcome(ids, ids, np.full(50, 0.5))] * 2)
    assert found == pytest.approx(ties.smallest_drop)
