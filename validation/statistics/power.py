"""What a set can show: the chance to catch a true loss, and the smallest one that is caught often enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from scipy.special import bdtrc

from validation.statistics.intervals import wilson_edge

WANTED_POWER = 0.8
"""The usual chance to catch what a study is built to catch."""
CORRELATION = 0.4
"""Of two encoders' values of one item. Over the pairs of trainings that docs/RESULTS.md compares, the median is 0.49 on
Luma and 0.37 on the demo, and the middle halves lie between 0.1 and 0.8: a forecast is a rough one."""

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Spread:
    """How the differences of a comparison scatter over its groups: all that its power depends on."""

    error: float
    """Standard error of the mean difference, clustered by group; above 0."""
    num_groups: int
    num_differing: float
    """Groups that differ at all; a number of hits may be expected rather than counted."""
    concentration: float
    """Sum of the groups' squared shares of the items: 1 / num_groups where all are of one size, 1 where one has all."""
    largest: float = 1.0
    """Largest difference of a group's mean, in the metric's unit."""


def fewest_groups(level: float) -> int:
    """Groups that must differ, all the same way, before chance is ruled out at `level`: mid-p of their sign flips.

    Returns:
        The least G with 2^-(G + 1) <= level: four at 0.05.
    """
    return max(1, math.ceil(-math.log2(level) - 1.0 - 1e-9))


def power_of(drop: float, spread: Spread, *, level: float, tolerance: float = 0.0) -> float:
    """Chance that the rule of `paired_test` refuses when the true loss is `drop`.

    A normal approximation of the sign flips times the chance that enough groups differ at all. The flips' own scatter
    is that of differences about 0 and not about their mean, so it holds the loss too; and on a set where nearly all
    items tie, a share of -1, 0 and 1 has too few steps for a normal: there the second factor decides.

    Args:
        drop: True loss, in the metric's unit (0.03: three points of a share).
        spread: How the differences scatter.
        level: One-sided level of the rule.
        tolerance: Loss that the rule lets pass.

    Returns:
        Phi((x - z sqrt(e^2 + c x^2)) / e) P(B >= f), with x the loss beyond the tolerance, e the error, c the
        concentration, z the normal quantile at 1 - level, f `fewest_groups`, and B binomial over the groups; a group
        differs with the chance seen, or with that which the loss must bring about if that is more.
    """
    fewest, beyond = fewest_groups(level), drop - tolerance
    if spread.num_groups < fewest:
        return 0.0
    edge = _NORMAL.inv_cdf(1.0 - level) * math.hypot(spread.error, math.sqrt(spread.concentration) * beyond)
    share = min(1.0, max(spread.num_differing / spread.num_groups, abs(drop) / spread.largest))
    return _NORMAL.cdf((beyond - edge) / spread.error) * float(bdtrc(fewest - 1, spread.num_groups, share))


def smallest_drop(spread: Spread, *, level: float, tolerance: float = 0.0, power: float = WANTED_POWER) -> float:
    """Smallest true loss that the rule catches with chance `power`: `power_of` solved for the drop by halving.

    Returns:
        The loss in the metric's unit; infinity where none is caught so often: too few groups, or one has nearly all.
    """
    low, high = tolerance, tolerance + spread.error
    while power_of(high, spread, level=level, tolerance=tolerance) < power:
        low, high = high, tolerance + 2.0 * (high - tolerance)
        if high - tolerance > 1e6 * (spread.error + spread.largest):
            return math.inf
    for _ in range(50):
        middle = (low + high) / 2.0
        caught = power_of(middle, spread, level=level, tolerance=tolerance) >= power
        low, high = (low, middle) if caught else (middle, high)
    return high


def error_of_ties(num_groups: int, level: float) -> float:
    """Standard error to assume where no group differs from another: Wilson's interval for what none of them showed.

    Args:
        num_groups: G.
        level: One-sided level; the interval's coverage is 1 - 2 level.

    Source: our choice. An estimate of 0 would promise that the smallest loss is caught.
    """
    return wilson_edge(num_groups, 1.0 - 2.0 * level) / _NORMAL.inv_cdf(1.0 - level)


def smallest_difference(
    low: float,
    high: float,
    num_groups: int,
    *,
    confidence: float,
    level: float = 0.05,
    power: float = WANTED_POWER,
    correlation: float = CORRELATION,
) -> float:
    """Forecast, from one encoder's score alone, the smallest loss that a comparison on the set would catch.

    For tables that say "this set can show differences from X points" before there is a second encoder. The score's own
    interval tells its standard error with the clusters in it; two encoders of equal error e whose values of an item
    correlate by r differ with the error e sqrt(2 (1 - r)). For shares of p that is to assume that they disagree on
    2 p (1 - p) (1 - r) of the items.

    Args:
        low: Lower end of the score's interval, clustered by group; a metric of 0 to 1.
        high: Upper end.
        num_groups: G, independent groups among the items.
        confidence: Coverage of that interval, for example 0.95.
        level: One-sided level of the rule.
        power: Chance to catch the loss.
        correlation: r, of the two encoders' values of an item. Equal values everywhere are 1, strangers 0.

    Returns:
        The loss in the metric's unit; infinity where there are too few groups for any verdict.
    """
    score_error = (high - low) / (2.0 * _NORMAL.inv_cdf(0.5 + confidence / 2.0))
    error = score_error * math.sqrt(2.0 * (1.0 - correlation)) or error_of_ties(num_groups, level)
    # No fewer groups can differ, since none differs by more than 1.
    differing = min(float(num_groups), (error * num_groups) ** 2)
    return smallest_drop(Spread(error, num_groups, differing, 1.0 / num_groups), level=level, power=power)
