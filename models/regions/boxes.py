"""Geometry of boxes: x0, y0, x1, y1 in pixels, x1 > x0 and y1 > y0, origin at the top left."""

from __future__ import annotations

from collections.abc import Iterable

from catalog import Box


def whole_box(size_px: tuple[int, int]) -> Box:
    """The box of a picture of `size_px` (width, height)."""
    return (0.0, 0.0, float(size_px[0]), float(size_px[1]))


def box_area(box: Box) -> float:
    """Area, square pixels; 0 for an empty box."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def overlap_area(one: Box, other: Box) -> float:
    """Area that both cover, square pixels."""
    return box_area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    overlap = overlap_area(one, other)
    union = box_area(one) + box_area(other) - overlap
    return overlap / union if union > 0.0 else 0.0


def union_box(boxes: Iterable[Box]) -> Box:
    """The smallest box around all of `boxes`."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))


def scale_box(box: Box, factor_x: float, factor_y: float) -> Box:
    """`box` in a picture resized by the factors."""
    return (box[0] * factor_x, box[1] * factor_y, box[2] * factor_x, box[3] * factor_y)


def clip_box(box: Box, size_px: tuple[int, int]) -> Box | None:
    """`box` cut to the picture; None where nothing of it lies inside."""
    width_px, height_px = size_px
    x0, x1 = max(box[0], 0.0), min(box[2], float(width_px))
    y0, y1 = max(box[1], 0.0), min(box[3], float(height_px))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def pad_box(box: Box, padding_px: float, min_side_px: float, size_px: tuple[int, int]) -> Box:
    """Grow `box` by `padding_px` on every side and to `min_side_px` at least, inside the picture.

    A box that must grow at the picture's edge grows inwards, so that its side is reached wherever it fits.
    """
    spans = []
    for low, high, limit in ((box[0], box[2], size_px[0]), (box[1], box[3], size_px[1])):
        low, high = max(low - padding_px, 0.0), min(high + padding_px, float(limit))
        missing = min(min_side_px, float(limit)) - (high - low)
        if missing > 0.0:
            low = min(max(low - missing / 2.0, 0.0), float(limit) - (high - low) - missing)
            high = min(low + min(min_side_px, float(limit)), float(limit))
        spans.append((low, high))
    return (spans[0][0], spans[1][0], spans[0][1], spans[1][1])
