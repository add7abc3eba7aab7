"""Colour histograms over Lab."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_SHAPE = (17, 25, 25)
_STEP = np.array([6.5, 7.0, 7.0])
_FLOOR = 2e-5
"""Density of a colour never seen: keeps likelihood ratios finite."""


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
