"""The person before a plain ground: which pixels are the figure, and which of those are skin or hair.

Legend: H, W the working picture's height and width; maps are (H, W).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from models.regions.proposals import grow
from models.regions.saliency_maps import border_mask, lab_pixels

_MIN_PLAIN_FRAC = 0.35
"""Share of the frame that must be of one colour; a person cut by it covers the rest."""
_GROUND_LAB = 3.5
"""Lab distance to the ground's colour within which a pixel joined to the frame is ground: a white shirt is farther."""
_MAX_GROUND_LAB = 12.0
"""The same before a wall that is lit unevenly."""
_INNER_GROUND_LAB = 1.5
"""The same for the gap between an arm and the body, which no ground joins to the frame."""
_SOLID_LAB = 10.0
"""The figure's first and last row are told by pixels farther than this from the ground: a floor has a shadow."""
_MIN_FIGURE_FRAC = 0.05
_MIN_PART_FRAC = 0.04
"""Parts of the figure smaller than this share of the largest are specks; a white garment may cut a person in parts."""
EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Figure:
    """What stands before the plain ground."""

    lab: np.ndarray
    """(H, W, 3) float64, lightly smoothed."""
    mask: np.ndarray
    """(H, W) bool."""
    inner: np.ndarray
    """(H, W) bool: the mask without its rim, whose colours are mixed with the ground's."""
    top: int
    """First row of the figure."""
    bottom: int
    """Row after its last."""
    is_cut_above: bool
    """It reaches the picture's upper edge."""
    is_cut_below: bool


def shrink(image: Image.Image, side_px: int) -> Image.Image:
    """`image` as RGB, its longer side at most `side_px`."""
    factor = min(side_px / max(image.size), 1.0)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    rgb = image.convert("RGB")
    return rgb if size == image.size else rgb.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def find_figure(rgb: np.ndarray) -> Figure | None:
    """Part figure and ground.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        None where the frame is not of one colour or nothing large stands before it.
    """
    lab = lab_pixels(rgb)
    frame = border_mask(rgb.shape[:2], 0.02)
    edge = rgb[frame].astype(np.int64)
    codes = edge // 16 @ np.array([256, 16, 1])
    commonest = codes == np.bincount(codes).argmax()
    ground = np.median(lab[frame][commonest], axis=0)
    apart = np.linalg.norm(lab - ground, axis=2)
    if float(np.mean(apart[frame] < 2.0 * _GROUND_LAB)) < _MIN_PLAIN_FRAC:
        return None
    # A wall that is lit from one side strays from its commonest colour; pure white does not.
    near = apart[frame][apart[frame] < _MAX_GROUND_LAB]
    limit = float(np.clip(2.0 * np.quantile(near, 0.9), _GROUND_LAB, _MAX_GROUND_LAB))
    regions, _ = ndimage.label(apart < limit)
    outer = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    is_ground = np.isin(regions, outer[outer > 0]) | (apart < _INNER_GROUND_LAB)
    mask = _large_parts(~is_ground)
    if mask.sum() < _MIN_FIGURE_FRAC * mask.size:
        return None
    solid = mask & (apart > _SOLID_LAB)
    rows = np.flatnonzero(solid.sum(axis=1) >= 3)
    if len(rows) < 16:
        return None
    inner = ~grow(np.pad(~mask, 1, mode="edge"))[1:-1, 1:-1]
    smooth = ndimage.gaussian_filter(lab, (0.6, 0.6, 0.0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    cut_above, cut_below = (int(solid[row].sum()) >= 3 for row in (0, -1))
    return Figure(smooth, mask, inner, top, bottom, cut_above, cut_below)


def _large_parts(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask, EIGHT)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes >= max(_MIN_PART_FRAC * sizes.max(), 4))[labels] & mask


def skin_likeness(lab: np.ndarray) -> np.ndarray:
    """How well colours lie in the narrow band that human skin has, of every tone.

    Skin's hue comes from blood and melanin, so that it stays within some 50 degrees of Lab hue while lightness runs
    from 15 to 95; its chroma is moderate, which keeps most red, orange and yellow garments out.

    Args:
        lab: (..., 3).

    Returns:
        (...) in 0..1.

    Source: our choice of window, after the skin loci of Chai & Ngan 1999 (YCbCr) put in Lab.
    """
    lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    chroma = np.hypot(a, b)
    hue = np.degrees(np.arctan2(b, a))
    most = 44.0 - 0.12 * np.maximum(lightness - 60.0, 0.0)
    return _window(hue, 34.0, 80.0, 8.0) * _window(chroma, 8.0, most, 5.0) * _window(lightness, 14.0, 97.0, 4.0)


def _window(values: np.ndarray, low: float, high: float | np.ndarray, ramp: float) -> np.ndarray:
    """1 between `low` and `high`, falling to 0 within `ramp` outside."""
    return np.clip(np.minimum(values - low, high - values) / ramp + 1.0, 0.0, 1.0)
