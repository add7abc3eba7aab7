"""Is one encoder worse than another? A paired test on the same items, clustered by group, with its power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr

from validation.errors import BenchmarkError
from validation.statistics.intervals import wilson_edge
from validation.statistics.outcomes import Outcome, paired_parts
from validation.statistics.power import critical_t, fewest_groups, power_of, smallest_drop


@dataclass(frozen=True)
class PairedTest:
    """How two encoders differ on the same items, and what the comparison could have shown."""

    value: float
    """Ours less theirs, in the metric's unit; above 0 where ours is better."""
    low: float
    high: float
    """Ends of the two-sided interval of coverage 1 - 2 level."""
    p_worse: float
    """One-sided p of "ours loses more than `tolerance`"; below `level` exactly where `shown_worse` holds."""
    power: float
    """Chance to show a true loss of `drop`."""
    smallest_drop: float
    """Smallest true loss shown with chance 0.8; infinity where there are too few groups for any verdict."""
    n: int
    """Items, over all parts."""
    num_groups: int
    """Independent groups among them."""
    level: float
    drop: float
    tolerance: float = 0.0
    """Loss that is let pass."""

    @property
    def shown_worse(self) -> bool:
        """Does the whole interval lie below -tolerance? This is the rule of no regression."""
        return self.high < -self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON, which has no infinity: a smallest drop that does not exist is null."""
        data = asdict(self)
        data["smallest_drop"] = self.smallest_drop if math.isfinite(self.smallest_drop) else None
        return data


def paired_test(
    ours: Outcome | Sequence[Outcome],
    theirs: Outcome | Sequence[Outcome],
    *,
    level: float = 0.05,
    drop: float = 0.03,
    tolerance: float = 0.0,
    higher_is_better: bool = True,
) -> PairedTest:
    """Compare two encoders item by item: cluster-robust t of the mean difference.

    The mean (of several metrics: the plain mean of their means) is linearised into one contribution a group, and the
    sum of the squared contributions is its variance. Colours of one article thus count as one piece of evidence, and
    no resampling is needed. docs/CALIBRATION.md has the measurements by which it was chosen over the cluster bootstrap,
    which alarms too often with few groups, and over sign flips of groups, which hardly ever alarm on few hits.

    Two guards, since a variance estimated from next to nothing may be next to nothing. The interval reaches at least
    as far to either side as Wilson's would for a thing that no group showed, where a group that stands as far from the
    mean as the furthest one seen would be such a thing: this matters where fewer than three groups differ, or none. And with fewer than
    log2(1 / level) groups (five at 0.05) nothing is shown: even sign flips could not.

    Args:
        ours: The candidate's outcome, or one a metric.
        theirs: The other encoder's, on the very same items in any order.
        level: One-sided level: how often an encoder that is no worse may be called worse. Above 0, below 0.5.
        drop: True loss whose chance of being caught is told; 0.03 is three points of a share.
        tolerance: Loss that is let pass: only more than this is a regression.
        higher_is_better: False for ranks: differences are turned, so that above 0 is better whatever the metric.

    Raises:
        BenchmarkError: The two were not asked the same items, a value is not finite, or the level is none.

    Source: K.-Y. Liang, S. L. Zeger, Longitudinal Data Analysis Using Generalized Linear Models, 1986 (the sandwich
        for an intercept alone), times G / (G - 1); t with G - 1 degrees of freedom: C. G. Donald, K. Lang, Inference
        with Difference-in-Differences and Other Panel Data, 2007. Both guards are our choice.
    """
    if not 0.0 < level < 0.5:
        raise BenchmarkError("a level is a share of false alarms", got=f"{level}", allowed="above 0 and below 0.5")
    own, other = ([one] if isinstance(one, Outcome) else list(one) for one in (ours, theirs))
    parts = paired_parts(own, other)
    if not higher_is_better:
        parts = [(-values, groups) for values, groups in parts]
    sums, weights = _shares(parts)
    num_groups, value = len(sums), float(sums.sum())
    n = sum(len(values) for values, _ in parts)
    largest = float(np.max(np.abs(sums.sum(axis=1) / weights.sum(axis=1))))
    if num_groups < fewest_groups(level):
        # Even if all groups differ the same way, luck explains it; nor is there an honest end to the interval.
        edge = max(1.0, largest)
        return PairedTest(value, -edge, edge, 1.0, 0.0, math.inf, n, num_groups, level, drop, tolerance)
    contributions = (sums - weights * (sums.sum(axis=0) * len(parts))).sum(axis=1)
    # Rounding leaves equal differences a little apart.
    furthest = float(np.max(np.abs(contributions / weights.sum(axis=1))))
    scale = furthest if furthest > 1e-9 else largest or 1.0
    error = math.sqrt(num_groups / (num_groups - 1) * float(np.square(contributions).sum()))
    critical = critical_t(num_groups, level)
    error = max(error, scale * wilson_edge(num_groups, 1.0 - 2.0 * level) / critical)
    return PairedTest(
        value=value,
        low=value - critical * error,
        high=value + critical * error,
        p_worse=float(stdtr(num_groups - 1, (value + tolerance) / error)),
        power=power_of(drop, error, num_groups, level=level, tolerance=tolerance),
        smallest_drop=smallest_drop(error, num_groups, level=level, tolerance=tolerance),
        n=n,
        num_groups=num_groups,
        level=level,
        drop=drop,
        tolerance=tolerance,
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p values for being several, so that any false alarm among them keeps the level.

    For a policy that tests several metrics at once: refuse where an adjusted p is at or below the level.

    Source: S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979. It asks nothing of how the metrics
        depend on each other.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return tuple(adjusted.tolist())


def _shares(parts: Sequence[tuple[np.ndarray, Sequence[str]]]) -> tuple[np.ndarray, np.ndarray]:
    """What each group adds to the mean of means, (G, P), and its share of the items, (G, P); each sums over G to the
    part's mean / P and to 1 / P."""
    names = {name: row for row, name in enumerate(sorted({group for _, groups in parts for group in groups}))}
    sums, weights = np.zeros((2, len(names), len(parts)))
    for column, (values, groups) in enumerate(parts):
        rows = np.array([names[group] for group in groups])
        scale = 1.0 / (len(values) * len(parts))
        sums[:, column] = np.bincount(rows, values, minlength=len(names)) * scale
        weights[:, column] = np.bincount(rows, minlength=len(names)) * scale
    return sums, weights
