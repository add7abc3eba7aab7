"""Colour histograms over Lab, and what the names of colours look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

COLOUR_LAB: dict[str, tuple[float, float, float]] = {
    "black": (15.0, 0.0, 0.0),
    "white": (94.0, 0.0, 1.0),
    "gray": (55.0, 0.0, 0.0),
    "grey": (55.0, 0.0, 0.0),
    "silver": (75.0, 0.0, 0.0),
    "navy": (20.0, 8.0, -28.0),
    "blue": (50.0, 5.0, -45.0),
    "teal": (50.0, -28.0, -8.0),
    "turquoise": (70.0, -35.0, -10.0),
    "green": (50.0, -38.0, 25.0),
    "olive": (45.0, -8.0, 35.0),
    "yellow": (85.0, -5.0, 65.0),
    "gold": (72.0, 8.0, 55.0),
    "orange": (68.0, 35.0, 55.0),
    "coral": (67.0, 45.0, 30.0),
    "red": (45.0, 62.0, 38.0),
    "burgundy": (28.0, 38.0, 12.0),
    "maroon": (28.0, 38.0, 18.0),
    "pink": (75.0, 32.0, 0.0),
    "purple": (40.0, 38.0, -42.0),
    "lavender": (70.0, 15.0, -25.0),
    "brown": (36.0, 16.0, 24.0),
    "tan": (70.0, 8.0, 28.0),
    "beige": (80.0, 2.0, 20.0),
    "khaki": (65.0, 2.0, 25.0),
    "cream": (92.0, 0.0, 14.0),
}
"""Middle of what shops call by the name, in neutral light. Source: our choice."""

_SHADING = np.array([0.45, 1.0, 1.0])
"""Weight of lightness beside a and b: folds and shadows move it most."""
_ALIKE_LAB = 22.0
_SHAPE = (17, 25, 25)
_STEP = np.array([6.5, 7.0, 7.0])
_FLOOR = 2e-5
"""Density of a colour never seen: keeps likelihood ratios finite."""


def colour_agreement(lab: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """How well pixels agree with the nearest of the named colours.

    Args:
        lab: (..., 3).
        names: Of `COLOUR_LAB`; at least one.

    Returns:
        (...) in 0..1.
    """
    apart = [np.sum(((lab - np.array(COLOUR_LAB[name])) * _SHADING) ** 2, axis=-1) for name in names]
    return np.exp(-np.min(apart, axis=0) / (2.0 * _ALIKE_LAB**2))


def colour_bins(lab: np.ndarray) -> np.ndarray:
    """Number of each pixel's cell in the histograms: (...) int64."""
    scaled = (lab + np.array([0.0, 87.5, 87.5])) / _STEP
    cells = np.clip(scaled.astype(np.int64), 0, np.array(_SHAPE) - 1)
    return (cells[..., 0] * _SHAPE[1] + cells[..., 1]) * _SHAPE[2] + cells[..., 2]


def colour_density(bins: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Smoothed histogram of pixels, weighted or not, summing to about 1: one value a cell."""
    counts = np.bincount(bins, weights, int(np.prod(_SHAPE))).astype(np.float64).reshape(_SHAPE)
    total = float(counts.sum())
    smooth = ndimage.gaussian_filter(counts, (1.1, 0.8, 0.8), truncate=2.5) / max(total, 1e-9)
    return (smooth + _FLOOR).ravel()
