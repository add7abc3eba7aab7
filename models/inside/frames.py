"""Where a square of the model lies in its photograph: letterbox and core crop undone.

Shape suffix: S side of a square, pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog import Box, Photo
from models.tokens import TokenType

PixelBox = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels, the second pair outside."""


@dataclass(frozen=True)
class Frame:
    """What one square shows."""

    photo: Photo
    number: int
    """Which of the item's photographs, from 0."""
    kind: TokenType
    """IMAGE: the whole photograph; CROP: its core region."""
    photo_size_px: tuple[int, int]
    """Width and height of the upright photograph."""
    region_px: PixelBox
    """Part of the photograph that was fitted into the square."""

    def in_square(self, box: Box, side_px: int) -> Box:
        """Where a box of the photograph lies in the square, pixels of the square; may reach past the region."""
        left, top, right, bottom = self.region_px
        x0, y0, x1, y1 = fitted_box((right - left, bottom - top), side_px)
        scale_x, scale_y = (x1 - x0) / (right - left), (y1 - y0) / (bottom - top)
        return (
            x0 + (box[0] - left) * scale_x,
            y0 + (box[1] - top) * scale_y,
            x0 + (box[2] - left) * scale_x,
            y0 + (box[3] - top) * scale_y,
        )

    def covered(self, box: Box, side_px: int) -> np.ndarray:
        """Share of each pixel of the square that a box of the photograph covers.

        The white around a letterboxed picture is no part of the photograph and is never covered.

        Returns:
            (S, S) float32 in 0..1.
        """
        left, top, right, bottom = self.region_px
        inside = fitted_box((right - left, bottom - top), side_px)
        x0, y0, x1, y1 = self.in_square(box, side_px)
        columns = _shares(max(x0, inside[0]), min(x1, inside[2]), side_px)
        rows = _shares(max(y0, inside[1]), min(y1, inside[3]), side_px)
        return np.outer(rows, columns).astype(np.float32)


def fitted_box(size_px: tuple[int, int], side_px: int) -> PixelBox:
    """Where `models.pictures.letterbox` puts a picture of `size_px` (width, height) in its square."""
    scale = side_px / max(size_px)
    width, height = (max(1, round(length * scale)) for length in size_px)
    left, top = (side_px - width) // 2, (side_px - height) // 2
    return left, top, left + width, top + height


def cut_box(size_px: tuple[int, int], box: Box) -> PixelBox:
    """The whole pixels that `models.pictures.crop_box` takes for `box`."""
    spans = []
    for low, high, size in ((box[0], box[2], size_px[0]), (box[1], box[3], size_px[1])):
        first = min(max(int(np.floor(low)), 0), size - 1)
        spans.append((first, max(first + 1, min(int(np.ceil(high)), size))))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def _shares(low: float, high: float, num: int) -> np.ndarray:
    """Share of each of `num` unit cells from 0 on that lies in [low, high]; nothing where high is below low."""
    cells = np.arange(num)
    return np.clip(np.minimum(cells + 1, high) - np.maximum(cells, low), 0.0, 1.0)
