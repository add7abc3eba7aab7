"""From a foreground map to scored boxes: components at several levels, and groups of them such as a pair of shoes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from catalog import Box
from models.regions.boxes import box_area, box_iou, union_box

_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
_MAX_PARTS = 4
"""Components a level, largest first."""
_MIN_PART_FRAC = 0.15
"""Smaller components than this share of the level's largest are specks."""
_MIN_AREA_FRAC = 0.003
"""Smaller components than this share of the picture are specks."""
_ALIKE_FRAC = 0.5
"""Components of at least this share of the largest's size are taken for parts of one product, such as a pair."""
_ALIKE_TRUST = 0.95
_ALL_TRUST = 0.7
"""The box around everything found is more often product and clutter than a product in parts."""
_DUPLICATE_IOU = 0.8
"""Two boxes that overlap more are the same candidate."""
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def propose_boxes(product: np.ndarray) -> list[tuple[Box, float]]:
    """Boxes of a foreground map with their scores.

    Args:
        product: (H, W) in 0..1, how much each pixel belongs to a product.

    Returns:
        Boxes in pixels of the map with scores in 0..1, best first, none overlapping another by more than 0.8 IoU.
    """
    weighted = product * _centre_weight(product.shape)
    if not weighted.any():
        return []
    by_level = [_boxes_at(product, level) for level in _LEVELS]
    found = [[box for box, _ in boxes] for boxes in by_level]
    scored = [(box, trust * _score(product, weighted, box, found)) for boxes in by_level for box, trust in boxes]
    # Among equals the larger box first, then by position: the order must not hang on that of the levels.
    scored.sort(key=lambda pair: (-pair[1], -box_area(pair[0]), pair[0]))
    kept: list[tuple[Box, float]] = []
    for box, score in scored:
        if all(box_iou(box, other) < _DUPLICATE_IOU for other, _ in kept):
            kept.append((box, score))
    return kept


def _boxes_at(product: np.ndarray, level: float) -> list[tuple[Box, float]]:
    """Boxes at or above `level` with the trust in each: components, like-sized ones together, all together."""
    mask = product >= level
    # Opening cuts threads and specks off; growing back inside the mask returns the tips that it took from the rest.
    core = grow(~grow(np.pad(~mask, 1, constant_values=True))[1:-1, 1:-1])
    core = grow(grow(core) & mask) & mask
    labels, count = ndimage.label(core, _EIGHT_NEIGHBOURS)
    if count == 0:
        return []
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    largest = float(sizes.max())
    slices = ndimage.find_objects(labels)
    parts: list[tuple[Box, float]] = []
    for index in np.argsort(-sizes, kind="stable")[:_MAX_PARTS]:
        if sizes[index] >= max(_MIN_PART_FRAC * largest, _MIN_AREA_FRAC * product.size):
            rows, cols = slices[index]
            box = (float(cols.start), float(rows.start), float(cols.stop), float(rows.stop))
            parts.append((box, float(sizes[index])))
    boxes = [(box, 1.0) for box, _ in parts]
    alike = [box for box, size in parts if size >= _ALIKE_FRAC * largest]
    if len(alike) > 1:
        boxes.append((union_box(alike), _ALIKE_TRUST))
    if len(parts) > len(alike):
        boxes.append((union_box([box for box, _ in parts]), _ALL_TRUST))
    return boxes


def grow(mask: np.ndarray) -> np.ndarray:
    """Dilate a mask (H, W) by its eight neighbours; scipy's is ten times slower at this size."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide


def _score(product: np.ndarray, weighted: np.ndarray, box: Box, by_level: list[list[Box]]) -> float:
    """How likely the box is the product, 0 to 1.

    The share of the map that it holds, counted more in the middle; less for a box that is mostly empty, that runs
    along the picture's edges as ground does, or that other levels do not find.
    """
    height, width = product.shape
    x0, y0, x1, y1 = (int(value) for value in box)
    share = float(weighted[y0:y1, x0:x1].sum() / weighted.sum())
    fill = float(product[y0:y1, x0:x1].mean())
    along = (int(x0 <= 1) + int(x1 >= width - 1)) * (y1 - y0) + (int(y0 <= 1) + int(y1 >= height - 1)) * (x1 - x0)
    touch = along / (2.0 * (width + height))
    stable = float(np.mean([max((box_iou(box, other) for other in boxes), default=0.0) for boxes in by_level]))
    return min(share * min(2.0 * fill, 1.0) ** 0.5 * max(1.0 - 1.5 * touch, 0.0) * (0.5 + 0.5 * stable), 1.0)


def _centre_weight(shape: tuple[int, ...]) -> np.ndarray:
    """(H, W): 1 in the middle, falling to 0.14 in the corners, where badges and clutter are."""
    y = (np.arange(shape[0]) + 0.5) / shape[0] * 2.0 - 1.0
    x = (np.arange(shape[1]) + 0.5) / shape[1] * 2.0 - 1.0
    return np.exp(-(y[:, None] ** 2) - x[None, :] ** 2)
