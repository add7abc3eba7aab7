"""Is one encoder worse than another? A paired test on the same items, clustered by group, with its power."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from validation.errors import BenchmarkError
from validation.statistics.intervals import wilson_edge
from validation.statistics.outcomes import Outcome, paired_parts
from validation.statistics.power import Spread, error_of_ties, fewest_groups, power_of, smallest_drop

NUM_DRAWS = 3_999
"""Halves drawn. At a level of 0.05 the p value is then good to 0.0035, the standard deviation of the drawing."""
_MOST_LISTED = 12
"""Up to so many groups all 2^12 halves are listed instead."""
_BLOCK_CELLS = 4_000_000
_SEED = 0


@dataclass(frozen=True)
class PairedTest:
    """How two encoders differ on the same items, and what the comparison could have shown."""

    value: float
    """Ours less theirs, in the metric's unit; above 0 where ours is better."""
    low: float
    high: float
    """Ends of the two-sided interval of coverage 1 - 2 level."""
    p_worse: float
    """One-sided p of "ours loses more than `tolerance`"; at or below `level` exactly where `shown_worse` holds."""
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
    """Compare two encoders item by item: sign flips of whole groups, with mid-p.

    If neither is better, whose answers to a group are whose is a coin's choice. p is the share of such choices that
    look at least as bad for ours, those that look just as bad counted half. To flip a group's sign about a difference
    t, or to leave the group out of a mean and see whether what is left reaches t, is one and the same; so the interval
    of all differences that the flips do not rule out has for its ends quantiles of the means of random halves. On hits
    and misses in groups of one this is McNemar's test. Colours of one article count as one piece of evidence.

    Making any answer of ours worse can only make p smaller, which a t test does not promise. docs/CALIBRATION.md has
    the measurements by which mid-p flips were chosen over that, over exact flips and over the cluster bootstrap.

    With fewer groups than could ever reach the level (four at 0.05) nothing is shown, and the interval says so. Where
    the interval shows no difference it reaches at least as far to either side as Wilson's for something that no group
    showed, as large as the largest difference seen (1 where none was): two ties do not prove that there are only ties.

    Args:
        ours: The candidate's outcome, or one a metric; then the plain mean of the metrics' means is compared.
        theirs: The other encoder's, on the very same items in any order.
        level: One-sided level: how often an encoder that is no worse may be called worse. Above 0, below 0.5.
        drop: True loss whose chance of being caught is told; 0.03 is three points of a share.
        tolerance: Loss that is let pass: only more than this is a regression.
        higher_is_better: False for ranks: differences are turned, so that above 0 is better whatever the metric.

    Raises:
        BenchmarkError: The two were not asked the same items, a value is not finite, or the level is none.

    Source: J. A. Hartigan, Using Subsample Values as Typical Values, 1969, for the halves; H. O. Lancaster,
        Significance Tests in Discrete Distributions, 1961, for mid-p; M. W. Fagerland, S. Lydersen, P. Laake, The
        McNemar Test for Binary Matched-Pairs Data: Mid-p and Asymptotic Are Better than Exact Conditional, 2013, for
        its choice. The widening is ours.
    """
    if not 0.0 < level < 0.5:
        raise BenchmarkError("a level is a share of false alarms", got=f"{level}", allowed="above 0 and below 0.5")
    own, other = ([one] if isinstance(one, Outcome) else list(one) for one in (ours, theirs))
    parts = paired_parts(own, other)
    if not higher_is_better:
        parts = [(-values, groups) for values, groups in parts]
    sums, weights = _shares(parts)
    value, num_groups = float(sums.sum()), len(sums)
    halves = _means_of_halves(sums, weights)
    largest = float(np.max(np.abs(sums / weights)))
    if num_groups < fewest_groups(level):
        high = max(1.0, largest)
        low = -high
    else:
        reach = (largest or 1.0) * wilson_edge(num_groups, 1.0 - 2.0 * level)
        high = _upper_end(halves, value, level, tolerance, reach)
        low = -_upper_end(-halves[::-1], -value, level, tolerance, reach)
    spread = _spread(sums, weights, level)
    return PairedTest(
        value=value,
        low=low,
        high=high,
        p_worse=float(_mid_p(halves, np.array([-tolerance]))[0]),
        power=power_of(drop, spread, level=level, tolerance=tolerance),
        smallest_drop=smallest_drop(spread, level=level, tolerance=tolerance),
        n=sum(len(values) for values, _ in parts),
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
    """What each of G groups adds to the mean of the parts' means, and its share of the items, which sum to 1."""
    names = {name: row for row, name in enumerate(sorted({group for _, groups in parts for group in groups}))}
    sums, weights = np.zeros((2, len(names)))
    for values, groups in parts:
        rows, scale = np.array([names[group] for group in groups]), 1.0 / (len(values) * len(parts))
        sums += np.bincount(rows, values, minlength=len(names)) * scale
        weights += np.bincount(rows, minlength=len(names)) * scale
    return sums, weights


def _means_of_halves(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sorted means of random halves of the groups, each in or out by a coin; halves without a group are left out."""
    means = []
    for inside in _halves(len(sums)):
        kept = inside[inside.any(axis=1)].astype(np.float64)
        # Where gains and losses cancel, rounding must not decide between a tie and a loss.
        means.append(np.round((kept @ sums) / (kept @ weights), 10))
    return np.sort(np.concatenate(means))


def _halves(num_groups: int) -> Iterator[np.ndarray]:
    if num_groups <= _MOST_LISTED:
        yield (np.arange(1, 2**num_groups)[:, None] >> np.arange(num_groups)) & 1
        return
    generator, rows = np.random.default_rng(_SEED), max(1, _BLOCK_CELLS // num_groups)
    for start in range(0, NUM_DRAWS, rows):
        yield generator.integers(0, 2, size=(min(rows, NUM_DRAWS - start), num_groups), dtype=np.uint8)


def _mid_p(halves: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """p of "the true difference is below this one", for each of several; the choice really seen counts as a tie."""
    below, up_to = (np.searchsorted(halves, differences, side) for side in ("left", "right"))
    return np.asarray((len(halves) - up_to + 0.5 * (up_to - below) + 0.5) / (len(halves) + 1))


def _upper_end(halves: np.ndarray, value: float, level: float, tolerance: float, reach: float) -> float:
    """Largest difference that is not ruled out; `reach` beyond the value at least, unless that is worse than allowed.

    That -tolerance is asked about too makes the interval and p agree to the last half.
    """
    asked = np.append(halves, -tolerance)
    p = _mid_p(halves, asked)
    end = float(asked[p > level].max())
    return end if p[-1] <= level else max(end, value + reach)


def _spread(sums: np.ndarray, weights: np.ndarray, level: float) -> Spread:
    """The clustered error is a sandwich's: squared sums of what is left of each group's items beyond the mean.

    Source: K.-Y. Liang, S. L. Zeger, Longitudinal Data Analysis Using Generalized Linear Models, 1986, for an intercept
        alone, times G / (G - 1). Where all groups differ alike: `error_of_ties`.
    """
    num_groups = len(sums)
    squares = float(np.square(sums - weights * sums.sum()).sum())
    error = math.sqrt(squares * num_groups / max(1, num_groups - 1))
    means = np.abs(sums / weights)
    largest = float(means.max()) or 1.0
    if error < 1e-9 * largest:
        error = largest * error_of_ties(num_groups, level)
    differing = float(np.count_nonzero(means > 1e-10))
    return Spread(error, num_groups, differing, float(np.square(weights).sum()), largest)
