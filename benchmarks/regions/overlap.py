"""How far boxes lie from those drawn by eye, and whether one finder's lie nearer than another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog import Box
from models.regions.boxes import box_iou

NUM_BOOTSTRAP = 10_000
CONFIDENCE = 0.95
GOOD_IOU = 0.5


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs on the same photographs."""

    value: float
    low: float
    high: float


def overlaps(found: Sequence[Box], true: Sequence[Box]) -> np.ndarray:
    """(N,) IoU of each box with the one drawn by eye."""
    return np.array([box_iou(one, other) for one, other in zip(found, true, strict=True)])


def median_difference(
    ours: np.ndarray, theirs: np.ndarray, groups: Sequence[str], seed: int, num_bootstrap: int = NUM_BOOTSTRAP
) -> Difference:
    """The difference of the two medians, with a paired percentile bootstrap over groups.

    Args:
        ours: (N,) IoU.
        theirs: (N,) IoU on the same photographs.
        groups: Of each photograph; photographs of one article are drawn together.
        seed: Of the resamples.
        num_bootstrap: Resamples.

    Source: A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application, 1997, sections 2.4 and 3.8.
    """
    names = sorted(set(groups))
    members = [np.flatnonzero([group == name for group in groups]) for name in names]
    rng = np.random.default_rng(seed)
    drawn = np.empty(num_bootstrap)
    for draw in range(num_bootstrap):
        rows = np.concatenate([members[index] for index in rng.integers(0, len(names), len(names))])
        drawn[draw] = np.median(ours[rows]) - np.median(theirs[rows])
    low, high = np.quantile(drawn, [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0])
    return Difference(float(np.median(ours) - np.median(theirs)), float(low), float(high))
