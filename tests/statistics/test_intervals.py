"""Bootstrap intervals against a library, a naive loop and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap

from validation.statistics.intervals import cluster_interval, macro_interval

SETTINGS = {"num_bootstrap": 4000, "confidence": 0.95, "seed": 5}


def test_groups_of_one_equal_scipys_bootstrap() -> None:
    values = np.random.default_rng(0).random(80)
    low, high = cluster_interval(values, [str(index) for index in range(80)], **SETTINGS)
    theirs = bootstrap((values,), np.mean, n_resamples=8000, method="percentile", rng=1).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_equals_a_naive_resampling_of_groups() -> None:
    rng = np.random.default_rng(3)
    groups = [f"g{index}" for index in rng.integers(0, 12, size=60)]
    values = rng.integers(0, 2, size=60).astype(float)
    names, means = sorted(set(groups)), []
    for _ in range(4000):
        drawn = rng.choice(names, size=len(names))
        rows = [index for name in drawn for index, own in enumerate(groups) if own == name]
        means.append(values[rows].mean())
    low, high = cluster_interval(values, groups, **SETTINGS)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.025)


def test_copies_of_one_article_add_no_evidence() -> None:
    values = np.random.default_rng(2).integers(0, 2, size=30).astype(float)
    groups = [f"g{index}" for index in range(30)]
    one = cluster_interval(values, groups, **SETTINGS)
    ten = cluster_interval(np.tile(values, 10), groups * 10, **SETTINGS)
    assert ten == pytest.approx(one)
    apart = cluster_interval(np.tile(values, 10), [str(index) for index in range(300)], **SETTINGS)
    assert apart[1] - apart[0] < 0.5 * (one[1] - one[0])


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("num_groups", [1, 7, 200])
def test_all_right_or_all_wrong_gives_wilsons_interval(share: float, num_groups: int) -> None:
    groups = [f"g{index}" for index in range(num_groups)] * 3
    ours = cluster_interval(np.full(len(groups), share), groups, **SETTINGS)
    theirs = binomtest(round(share * num_groups), num_groups).proportion_ci(0.95, method="wilson")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_same_seed_same_interval_and_more_confidence_is_wider() -> None:
    values, groups = np.arange(20) % 2, [str(index) for index in range(20)]
    narrow = cluster_interval(values, groups, num_bootstrap=500, confidence=0.8, seed=1)
    assert narrow == cluster_interval(values, groups, num_bootstrap=500, confidence=0.8, seed=1)
    wide = cluster_interval(values, groups, num_bootstrap=500, confidence=0.99, seed=1)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_macro_is_centred_on_the_mean_of_means_not_of_items() -> None:
    rng = np.random.default_rng(8)
    often, seldom = rng.random(400) < 0.9, rng.random(40) < 0.2
    parts = [
        (often.astype(float), [f"g{index}" for index in range(400)]),
        (seldom.astype(float), [f"g{index}" for index in range(40)]),
    ]
    low, high = macro_interval(parts, **SETTINGS)
    assert low < (often.mean() + seldom.mean()) / 2 < high < np.concatenate([often, seldom]).mean()


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(11), 0
    for trial in range(200):
        chance = rng.beta(3, 3, size=40)
        values = (rng.random((40, 4)) < chance[:, None]).astype(float).ravel()
        groups = [f"g{index // 4}" for index in range(160)]
        low, high = cluster_interval(values, groups, num_bootstrap=300, confidence=0.95, seed=trial)
        covered += low <= 0.5 <= high
    assert covered >= 178  # 0.1 % point of Binomial(200, 0.95); a percentile bootstrap of 40 groups is near 0.94


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_the_interval_lies_in_0_1_and_is_ordered(rows: list[tuple[bool, int]]) -> None:
    values = np.array([float(value) for value, _ in rows])
    low, high = cluster_interval(values, [str(group) for _, group in rows], num_bootstrap=100, confidence=0.9, seed=0)
    assert 0.0 <= low <= high <= 1.0
