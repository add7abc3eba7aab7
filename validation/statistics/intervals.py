"""Confidence intervals that know that colours of one article are not independent evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

_DRAWS_A_BLOCK = 200
_WEIGHTS_A_BLOCK = 1 << 22
_NO_WIDTH = 1e-12
"""Rounding of means that are equal."""


def cluster_interval(
    values: np.ndarray, groups: Sequence[str], *, num_bootstrap: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, resampling whole groups.

    Args:
        values: (n,) one number an item, for example 0 or 1.
        groups: The group of each item.
        num_bootstrap: Resamples.
        confidence: Coverage, for example 0.95.
        seed: Equal seed and groups give the same resamples, so that two encoders are resampled in pairs.

    Returns:
        low, high. Where all groups have the same mean, as where every value is 1, or there is one group alone, the
        bootstrap has nothing to resample: see `unless_flat`.
    """
    return macro_interval([(values, groups)], num_bootstrap=num_bootstrap, confidence=confidence, seed=seed)


def difference_interval(
    parts: Sequence[tuple[np.ndarray, Sequence[str]]], *, num_bootstrap: int, confidence: float, seed: int
) -> tuple[float, float]:
    """As `macro_interval`, for differences, which lie in [-1, 1]."""
    total, *ends = _macro_bootstrap(parts, num_bootstrap, confidence, seed)
    return unless_flat((ends[0], ends[1]), total, _num_groups(parts), confidence, within=(-1.0, 1.0))


def macro_interval(
    parts: Sequence[tuple[np.ndarray, Sequence[str]]], *, num_bootstrap: int, confidence: float, seed: int
) -> tuple[float, float]:
    """As `cluster_interval`, for the plain mean of several parts' means, with one resample of groups for all parts.

    Source: A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (clusters).
    """
    total, *ends = _macro_bootstrap(parts, num_bootstrap, confidence, seed)
    return unless_flat((ends[0], ends[1]), total, _num_groups(parts), confidence)


def unless_flat(
    ends: tuple[float, float],
    value: float,
    num_groups: int,
    confidence: float,
    *,
    within: tuple[float, float] = (0.0, 1.0),
    unit: float = 1.0,
) -> tuple[float, float]:
    """An interval as it is, unless it has no width: then groups that were not seen may differ all the same.

    A bootstrap of groups that agree gives one number as both ends, and would be surest of what one group alone says.

    Args:
        ends: Of the bootstrap.
        value: The mean.
        num_groups: Groups seen.
        confidence: Coverage.
        within: Least and largest value the metric can have.
        unit: How far a group might lie off.

    Returns:
        The ends; of no width, the value less and plus Wilson's edge for something that none of the groups showed. For
        a share of 0 or 1 that is Wilson's interval. Elsewhere it is our choice.
    """
    if ends[1] - ends[0] > _NO_WIDTH * unit:
        return ends
    edge = unit * wilson_edge(num_groups, confidence)
    return max(within[0], value - edge), min(within[1], value + edge)


def _num_groups(parts: Sequence[tuple[np.ndarray, Sequence[str]]]) -> int:
    return len({group for _, groups in parts for group in groups})


def wilson_edge(n: int, confidence: float) -> float:
    """Largest share, 0 to 1, that goes with having seen none among `n`.

    Source: E. B. Wilson, Probable Inference, 1927, for a share of 0: z^2 / (n + z^2).
    """
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2.0) ** 2
    return z2 / (n + z2)


def _macro_bootstrap(
    parts: Sequence[tuple[np.ndarray, Sequence[str]]], num_bootstrap: int, confidence: float, seed: int
) -> tuple[float, float, float]:
    names = sorted({group for _, groups in parts for group in groups})
    position = {name: index for index, name in enumerate(names)}
    sums = np.zeros((len(names), len(parts)))
    counts = np.zeros((len(names), len(parts)))
    for column, (values, groups) in enumerate(parts):
        rows = np.array([position[group] for group in groups])
        np.add.at(sums[:, column], rows, np.asarray(values, dtype=np.float64))
        np.add.at(counts[:, column], rows, 1.0)
    total = float(np.mean(sums.sum(axis=0) / counts.sum(axis=0)))
    draws = np.concatenate([_means(weights, sums, counts) for weights in resamples(len(names), num_bootstrap, seed)])
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return total, float(low), float(high)


def resamples(num_groups: int, num_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is drawn: (draws, num_groups) float64, block by block; the same for every block size."""
    generator = np.random.default_rng(seed)
    draws_a_block = max(1, min(_DRAWS_A_BLOCK, _WEIGHTS_A_BLOCK // max(1, num_groups)))
    for start in range(0, num_bootstrap, draws_a_block):
        size = min(draws_a_block, num_bootstrap - start)
        yield generator.multinomial(num_groups, np.full(num_groups, 1.0 / num_groups), size=size).astype(np.float64)


def _means(weights: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    tops, bottoms = weights @ sums, weights @ counts
    # A part with few groups may be missing from a resample: the others stand for it.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean(np.where(bottoms > 0, tops / bottoms, np.nan), axis=1))
