"""Ends of a paired interval, and a power, that a worse answer can never make look better.

A t interval lacks that: an answer so bad that it widens the interval can hide a loss that was shown without it, and a
win that shrinks can narrow it. What is taken here instead is the lowest upper end among all answers at least as good as
those given, and the highest lower end among all at least as poor. Both differ from the plain ends only where single
groups lie more than sqrt(groups) / t standard deviations out, 6 of them for 100 groups at level 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from validation.statistics.intervals import wilson_edge
from validation.statistics.power import critical_t, fewest_groups

Parts = Sequence[tuple[np.ndarray, Sequence[str]]]
"""Differences of items and their groups; a part a metric."""
_STEPS = 80
"""Of the search for a threshold; each leaves two thirds of what was left."""


def upper_end(parts: Parts, *, level: float) -> float:
    """Upper end of the interval of coverage 1 - 2 level of the mean of the parts' means.

    Both guards of `validation.statistics.paired_test` are kept: Wilson's width as the least, infinity with too few
    groups. The interval's width is convex in the groups' sums and treats them alike, so the lowest end lies where all
    losses below one threshold are raised to it, and the end has one valley along that threshold.

    Our choice; groups are centred on the mean group, which at the border of a verdict (mean difference 0) is what the
    plain test does too.
    """
    sums, weights, _ = _shares(parts)
    num_groups = len(sums)
    if num_groups < fewest_groups(level):
        return math.inf
    t, edge = critical_t(num_groups, level), wilson_edge(num_groups, 1.0 - 2.0 * level)
    means = sums / weights

    def by_spread(threshold: float) -> float:
        raised = np.maximum(sums, threshold)
        around = raised - raised.mean()
        return float(raised.sum() + t * math.sqrt(num_groups / (num_groups - 1) * float(around @ around)))

    def by_largest(threshold: float) -> float:
        raised = np.maximum(means, threshold)
        return float(weights @ raised + edge * (np.abs(raised).max() or 1.0))

    return max(_lowest(by_spread, sums), _lowest(by_largest, means))


def lower_end(parts: Parts, *, level: float) -> float:
    """Lower end of the interval: `upper_end` of the other encoder's lead, turned round."""
    return -upper_end([(-values, groups) for values, groups in parts], level=level)


def error_from_losses(parts: Parts) -> float:
    """Standard error of the mean difference between equal models, from the losses alone.

    Equal models lose as often as they win, so twice the sum of squares of the groups that lost stands for the sum of
    all. Our choice, and why: counted from wins as well, a candidate that turns wins into ties would look steadier, gain
    power and might pass because it became worse. One loss more is counted than was seen, because a set on which
    nothing happened has shown nothing about what it can show.
    """
    sums, _, one_item = _shares(parts)
    losses = np.minimum(sums, 0.0)
    return math.sqrt(2.0 * (float(losses @ losses) + one_item**2))


def _shares(parts: Parts) -> tuple[np.ndarray, np.ndarray, float]:
    """What each group adds to the mean of means, its share of the items, and the largest share of a single item."""
    names = {name: row for row, name in enumerate(sorted({group for _, groups in parts for group in groups}))}
    sums, weights = np.zeros((2, len(names)))
    for values, groups in parts:
        rows = np.array([names[group] for group in groups])
        scale = 1.0 / (len(values) * len(parts))
        sums += np.bincount(rows, values, minlength=len(names)) * scale
        weights += np.bincount(rows, minlength=len(names)) * scale
    return sums, weights, max(1.0 / (len(values) * len(parts)) for values, _ in parts)


def _lowest(end: Callable[[float], float], values: np.ndarray) -> float:
    low, high = float(values.min()), float(values.max())
    best = end(low)
    for _ in range(_STEPS):
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        one, other = end(left), end(right)
        best = min(best, one, other)
        low, high = (low, right) if one <= other else (left, high)
    return best
