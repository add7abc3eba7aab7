"""The rival that sees colours and nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from validation.rivals.photos_alone import MISSING_AXES, PhotosAlone

_BINS = (16, 4, 4)
"""Of hue, saturation and value."""
_SIDE_PX = 64
NUM_COLOURS = int(np.prod(_BINS))


def hsv_histogram(image: Image.Image) -> np.ndarray:
    """Joint histogram of hue, saturation and value over the whole picture.

    Returns:
        (256,) float64, sums to 1.
    """
    small = image.convert("RGB").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX).convert("HSV")
    pixels = np.asarray(small, dtype=np.int64).reshape(-1, 3)
    hue, saturation, value = (pixels[:, axis] * bins // 256 for axis, bins in enumerate(_BINS))
    cells = (hue * _BINS[1] + saturation) * _BINS[2] + value
    return np.bincount(cells, minlength=NUM_COLOURS) / len(pixels)


class ColourHistogram(PhotosAlone):
    """Square root of the mean HSV histogram of the photos: its cosine is the Bhattacharyya coefficient.

    Source: A. Bhattacharyya, On a measure of divergence between two statistical populations, 1943.
    """

    name = "colour_histogram"
    dims = NUM_COLOURS + MISSING_AXES

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256(f"colour_histogram:{_BINS}:{_SIDE_PX}".encode()).hexdigest()

    def look(self, image: Image.Image) -> np.ndarray:
        """(256,) float64, sums to 1."""
        return hsv_histogram(image)

    def pooled(self, mean: np.ndarray) -> np.ndarray:
        """Of unit length, since the mean sums to 1."""
        return np.asarray(np.sqrt(mean))
