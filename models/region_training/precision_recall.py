"""Precision and recall of boxes over all thresholds of their score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog import Box
from models.regions import Candidate, box_iou


@dataclass(frozen=True)
class PrecisionRecall:
    """One point a box found, from the surest to the least sure."""

    scores: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    num_true: int
    """Boxes that there were to find."""

    @property
    def average_precision(self) -> float:
        """Area under the curve, precision taken as the best at this recall or above; 0 where nothing was to find.

        Source: Everingham et al. 2010, PASCAL VOC 2010 and later (all points, not eleven).
        """
        if not self.recall or not self.num_true:
            return 0.0
        recall = np.array([0.0, *self.recall])
        best = np.maximum.accumulate(np.array(self.precision)[::-1])[::-1]
        return float(np.sum(np.diff(recall) * best))


def precision_recall(
    found: Sequence[Sequence[Candidate]], true: Sequence[Sequence[Box]], min_iou: float = 0.5
) -> PrecisionRecall:
    """Match boxes found to true ones, the surest first, each true box once.

    Args:
        found: Of every picture.
        true: Of every picture, in step.
        min_iou: From this overlap on a box is found; of several true ones the box goes to the one it overlaps most.
    """
    hits: list[tuple[float, bool]] = []
    for candidates, boxes in zip(found, true, strict=True):
        free = dict(enumerate(boxes))
        for candidate in sorted(candidates, key=lambda one: -one.score):
            overlaps = {number: box_iou(candidate.box, box) for number, box in free.items()}
            best = max(overlaps, key=lambda number: overlaps[number], default=None)
            hit = best is not None and overlaps[best] >= min_iou
            if hit and best is not None:
                del free[best]
            hits.append((candidate.score, hit))
    # Stable: among equal scores the order of the pictures counts, not the hits.
    hits.sort(key=lambda pair: -pair[0])
    num_true = sum(len(boxes) for boxes in true)
    right = np.cumsum([hit for _, hit in hits])
    return PrecisionRecall(
        scores=tuple(score for score, _ in hits),
        recall=tuple((right / max(num_true, 1)).tolist()),
        precision=tuple((right / np.arange(1, len(hits) + 1)).tolist()),
        num_true=num_true,
    )
