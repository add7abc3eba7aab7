"""Masks of products cleaned: without dust, badges and the holes that are prints. Legend: (H, W) bool."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_MIN_PART_FRAC = 0.04
"""A part smaller than this share of the largest is dirt, text or a badge's letter."""
_MIN_HOLE_SOFT = 0.3
_BADGE_AREA_FRAC, _BADGE_MARGIN_FRAC, _BADGE_FILL = 0.4, 0.09, 0.6
"""A part so small beside the largest, so near a corner and so full of its box is a badge."""
_LARGE_BADGE_FILL = 0.74
"""A larger part is one where it is as full of its box as a disc, 0.785, or a plate; a shoe is not."""
MIN_HOLE_FRAC = 0.003
MAX_BRIDGE_FRAC = 0.16
"""A hole further from the outside than this share of the mask's size is a print, not the gap behind a handle."""


def clean_mask(mask: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """Keep the large parts, and of their holes those that show the background.

    Args:
        mask: (H, W) bool.
        soft: (H, W) bool: where the picture looks like the background, or like it in a shadow.

    Returns:
        (H, W) bool; all False where nothing is left.
    """
    mask = ndimage.binary_opening(mask, iterations=1) | (mask & ndimage.binary_erosion(mask))
    parts, count = ndimage.label(mask)
    if not count:
        return np.asarray(mask)
    areas = np.bincount(parts.ravel())[1:]
    large = 1 + np.flatnonzero(areas >= _MIN_PART_FRAC * areas.max())
    kept = np.isin(parts, [number for number in large if not _is_badge(parts == number, areas.max())])
    filled = ndimage.binary_fill_holes(kept)
    holes, count = ndimage.label(filled & ~kept)
    if not count:
        return np.asarray(kept)
    inward = ndimage.distance_transform_edt(np.pad(filled, 1, constant_values=True))[1:-1, 1:-1]
    size = float(np.sqrt(filled.sum()))
    hole_areas = np.bincount(holes.ravel())[1:]
    for number in range(1, count + 1):
        hole = holes == number
        open_hole = (
            hole_areas[number - 1] >= MIN_HOLE_FRAC * filled.sum()
            and float(soft[hole].mean()) > _MIN_HOLE_SOFT
            and float(inward[hole].min()) <= MAX_BRIDGE_FRAC * size
        )
        if not open_hole:
            kept = kept | hole
    return np.asarray(kept)


def _is_badge(part: np.ndarray, largest_px: int) -> bool:
    """Whether a part of the mask is a printed sign: smaller than the product, full and near a corner."""
    area = int(part.sum())
    if area >= largest_px:
        return False
    full = _BADGE_FILL if area <= _BADGE_AREA_FRAC * largest_px else _LARGE_BADGE_FILL
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    height, width = part.shape
    margin = _BADGE_MARGIN_FRAC * max(height, width)
    at_side = min(columns[0], width - 1 - columns[-1]) <= margin
    at_end = min(rows[0], height - 1 - rows[-1]) <= margin
    return bool(at_side and at_end and area >= full * len(rows) * len(columns))
