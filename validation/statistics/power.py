"""What a set can show: the chance to catch a true loss, and the smallest one that is caught often enough.

All of it rests on the standard error of a difference, clustered by group, and on Student's t with one degree of
freedom less than there are groups.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from scipy.special import stdtr, stdtrit

WANTED_POWER = 0.8
"""The usual chance to catch what a study is built to catch."""
CORRELATION = 0.4
"""Of two encoders' values of one item. Over the pairs of trainings that docs/RESULTS.md compares, the median is 0.49 on
Luma and 0.37 on the demo, and the middle halves lie between 0.1 and 0.8: a forecast is a rough one."""


def fewest_groups(level: float) -> int:
    """Groups below which nothing can be shown: if all differ the same way, that has a chance of 2^-groups by luck."""
    return math.ceil(-math.log2(level) - 1e-9)


def power_of(drop: float, error: float, num_groups: int, *, level: float, tolerance: float = 0.0) -> float:
    """Chance that the rule of `paired_test` refuses when the true loss is `drop`.

    Args:
        drop: True loss, in the metric's unit (0.03: three points of a share).
        error: Standard error of the difference, clustered by group; above 0.
        num_groups: G.
        level: One-sided level of the rule.
        tolerance: Loss that the rule lets pass.

    Returns:
        T((drop - tolerance) / error - t), where T is Student's distribution with G - 1 degrees of freedom and t its
        quantile at 1 - level; 0 where there are too few groups for any verdict.
    """
    if num_groups < fewest_groups(level):
        return 0.0
    free = num_groups - 1
    return float(stdtr(free, (drop - tolerance) / error - critical_t(num_groups, level)))


def smallest_drop(
    error: float, num_groups: int, *, level: float, tolerance: float = 0.0, power: float = WANTED_POWER
) -> float:
    """Smallest true loss that the rule catches with chance `power`: `power_of` solved for the drop.

    Returns:
        (t(1 - level) + t(power)) error + tolerance; infinity where there are too few groups for any verdict.
    """
    if num_groups < fewest_groups(level):
        return math.inf
    return (critical_t(num_groups, level) + float(stdtrit(num_groups - 1, power))) * error + tolerance


def smallest_difference(
    low: float,
    high: float,
    num_groups: int,
    *,
    confidence: float,
    level: float,
    power: float = WANTED_POWER,
    correlation: float = CORRELATION,
) -> float:
    """Forecast, from one encoder's score alone, the smallest loss that a comparison on the set would catch.

    For tables that say "this set can show differences from X points" before there is a second encoder. The score's own
    interval tells its standard error with the clusters in it; two encoders of equal error e whose values of an item
    correlate by r differ with the error e sqrt(2 (1 - r)). For shares of p that is to assume that they disagree on
    2 p (1 - p) (1 - r) of the items.

    Args:
        low: Lower end of the score's interval, clustered by group.
        high: Upper end.
        num_groups: G, independent groups among the items.
        confidence: Coverage of that interval, for example 0.95.
        level: One-sided level of the rule.
        power: Chance to catch the loss.
        correlation: r, of the two encoders' values of an item. Equal values everywhere are 1, strangers 0.

    Returns:
        The loss in the metric's unit; infinity where there are too few groups for any verdict.
    """
    score_error = (high - low) / (2.0 * NormalDist().inv_cdf(0.5 + confidence / 2.0))
    return smallest_drop(score_error * math.sqrt(2.0 * (1.0 - correlation)), num_groups, level=level, power=power)


def critical_t(num_groups: int, level: float) -> float:
    """Quantile of Student's t at 1 - `level`, with one degree of freedom less than groups."""
    return float(stdtrit(num_groups - 1, 1.0 - level))
