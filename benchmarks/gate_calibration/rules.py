"""Four ways to say "worse" and one that forgets the groups, for many pairs at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

NUM_DRAWS = 1_999


@dataclass(frozen=True)
class Sample:
    """Differences of many pairs on one layout, by group."""

    sums: np.ndarray
    """(pairs, G) sum of each group's differences."""
    squares: np.ndarray
    """(pairs,) sum of the squared differences of all items."""
    sizes: np.ndarray
    """(G,) items."""

    @classmethod
    def of(cls, differences: np.ndarray, sizes: np.ndarray) -> Sample:
        """Sum (pairs, n) differences, the items of a group standing together."""
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return cls(np.add.reduceat(differences, starts, axis=1), np.square(differences).sum(axis=1), sizes)

    @property
    def means(self) -> np.ndarray:
        """(pairs,) mean difference."""
        return np.asarray(self.sums.sum(axis=1) / self.sizes.sum())


Interval = tuple[np.ndarray, np.ndarray]
"""(pairs,) lower and upper ends; a pair alarms where the upper is below 0."""


def cluster_t(sample: Sample, level: float) -> Interval:
    """Sandwich error of the mean, Student's t with G - 1 degrees of freedom."""
    num_groups = len(sample.sizes)
    left = sample.sums - sample.means[:, None] * sample.sizes
    error = np.sqrt(num_groups / (num_groups - 1) * np.square(left).sum(axis=1)) / sample.sizes.sum()
    reach = stdtrit(num_groups - 1, 1.0 - level) * error
    return sample.means - reach, sample.means + reach


def item_t(sample: Sample, level: float) -> Interval:
    """Student's t over items, as if no two belonged together: what must fail on groups."""
    n = sample.sizes.sum()
    variance = (sample.squares / n - np.square(sample.means)) * n / (n - 1)
    reach = stdtrit(n - 1, 1.0 - level) * np.sqrt(variance / n)
    return sample.means - reach, sample.means + reach


def cluster_bootstrap(sample: Sample, level: float) -> Interval:
    """Percentile bootstrap over groups."""
    num_groups = len(sample.sizes)
    weights = np.random.default_rng(1).multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=NUM_DRAWS)
    weights = weights.astype(float)
    means = (weights @ sample.sums.T) / (weights @ sample.sizes)[:, None]
    low, high = np.quantile(means, [level, 1.0 - level], axis=0)
    return low, high


def exact_flips(sample: Sample, level: float) -> Interval:
    """Sign flips of groups; those that look just as bad count whole."""
    return _flips(sample, level, 1.0)


def mid_p_flips(sample: Sample, level: float) -> Interval:
    """Sign flips of groups; those that look just as bad count half: the rule of the gate, without its widening."""
    return _flips(sample, level, 0.5)


RULES: Mapping[str, Callable[[Sample, float], Interval]] = {
    "mid-p flips": mid_p_flips,
    "exact flips": exact_flips,
    "cluster t": cluster_t,
    "cluster bootstrap": cluster_bootstrap,
}


def _flips(sample: Sample, level: float, tie: float) -> Interval:
    """Ends as quantiles of means of random halves, found among the halves' own means and 0."""
    halves = np.random.default_rng(2).integers(0, 2, size=(NUM_DRAWS, len(sample.sizes))).astype(float)
    halves = halves[halves.any(axis=1)]
    means = np.sort(np.round((halves @ sample.sums.T) / (halves @ sample.sizes)[:, None], 10), axis=0)
    lows, highs = [], []
    for own in means.T:
        asked = np.unique(np.append(own, 0.0))
        below, up_to = np.searchsorted(own, asked, "left"), np.searchsorted(own, asked, "right")
        worse = (len(own) - up_to + tie * (up_to - below + 1)) / (len(own) + 1)
        better = (below + tie * (up_to - below + 1)) / (len(own) + 1)
        highs.append(asked[worse > level].max())
        lows.append(asked[better > level].min())
    return np.array(lows), np.array(highs)
