"""Which pixels of a photograph before a plain background are the product: border model, GrabCut, cleaned mask.

Legend: H, W the working picture's height and width; masks are (H, W) bool.

Source: GrabCut (Rother et al. 2004) as OpenCV has it, started from a model of the background instead of a rectangle
drawn by hand. The background is a quadratic surface per channel, fitted to the frame's pixels and then to all that
agree with it: studio light falls off smoothly, and a shadow is that surface darkened.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from catalog.background import MIN_CLEAN_FRAC, plain_frac
from catalog.errors import ModelError
from models.regions.saliency_maps import lab_pixels

Side = Literal["left", "top", "right", "bottom"]

WORK_PX = 384
"""Longer side of the picture that is cut; a smaller one keeps its size."""

_FRAME_FRAC = 0.03
_NEAR_LEVELS = 14.0
"""Distance, largest of the three channels, within which a pixel may be background while the surface is fitted."""
_FIT_ROUNDS = 3
_SURE_GROUND, _SURE_PRODUCT = 2.5, 14.0
"""Lab distances to the background's surface."""
_GRABCUT_ROUNDS = 3
_SHADOW_CHROMA = 5.0
_SHADOW_DEPTH = 45.0
"""A pixel at most so much darker (L) than the background, and no more coloured, may be its shadow."""
_SHADOW_SLOPE = 2.2
"""Lightness steps a pixel that a shadow's soft edge stays under."""
_MIN_PART_FRAC = 0.04
"""A part smaller than this share of the largest is dirt, text or a badge's letter."""
_MIN_HOLE_FRAC = 0.003
_MAX_BRIDGE_FRAC = 0.16
"""A hole further from the outside than this share of the mask's size is a print, not the gap behind a handle."""
_MIN_AREA_FRAC, _MAX_AREA_FRAC = 0.02, 0.9
_MAX_RAGGEDNESS = 14.0
_MIN_CUT_FRAC = 0.04
"""A side is cut where the mask covers at least this share of it."""
_MIN_CONTRAST = 6.0


class NotCutError(ValueError):
    """The photograph gives no clean cut-out; the text says why."""


@dataclass(frozen=True)
class Segmentation:
    """A photograph, its background's surface and the product's pixels."""

    rgb: np.ndarray
    """(H, W, 3) uint8."""
    ground: np.ndarray
    """(H, W, 3) float32: the background as it would look without the product."""
    mask: np.ndarray
    """(H, W) bool."""
    cut_sides: tuple[Side, ...]
    """Sides of the picture that cut the product."""


def opencv() -> ModuleType:
    """OpenCV, imported when the first photograph is cut.

    Raises:
        ModelError: It is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise ModelError(
            "cutting products out of photographs needs OpenCV",
            got="no module cv2",
            fix="pip install opencv-python (or opencv-python-headless), or pip install ultralytics, which brings it",
        ) from None
    return cv2


def segment(image: Image.Image) -> Segmentation:
    """Find the product of a photograph with a plain background.

    Args:
        image: RGB, any size.

    Raises:
        NotCutError: The background is not plain, or the mask is not one a person would keep.
        ModelError: OpenCV is not installed.
    """
    if plain_frac(image) < MIN_CLEAN_FRAC:
        raise NotCutError("background is not plain")
    small = image.convert("RGB")
    small.thumbnail((WORK_PX, WORK_PX), Image.Resampling.LANCZOS)
    if min(small.size) < 24:
        raise NotCutError("picture is under 24 pixels wide or high")
    rgb = np.asarray(small)
    ground = fit_ground(rgb)
    mask = _grabcut(rgb, _first_guess(rgb, ground))
    mask = clean_mask(mask, _distance(rgb, ground))
    cut = sides_cut(mask)
    _refuse_bad(mask, cut, rgb, ground)
    return Segmentation(rgb, ground, mask, cut)


def fit_ground(rgb: np.ndarray) -> np.ndarray:
    """The background's surface under the whole picture: (H, W, 3) float32, levels 0 to 255.

    Raises:
        NotCutError: The frame's commonest colour is too rare to fit a surface to.
    """
    height, width = rgb.shape[:2]
    values = rgb.reshape(-1, 3).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).reshape(-1, 6)
    edge = max(2, round(_FRAME_FRAC * min(height, width)))
    frame = np.ones((height, width), dtype=bool)
    frame[edge:-edge, edge:-edge] = False
    codes = (rgb // 16).astype(np.int32) @ np.array([256, 16, 1])
    commonest = np.bincount(codes[frame]).argmax()
    surface = np.broadcast_to(np.median(rgb[frame & (codes == commonest)], axis=0), values.shape).astype(np.float32)
    inside = frame.ravel()
    for round_number in range(_FIT_ROUNDS):
        near = inside & (np.abs(values - surface).max(axis=1) < _NEAR_LEVELS)
        if near.sum() < 60:
            raise NotCutError("too little of the frame is background")
        # One pixel in seven tells a surface of six numbers enough.
        rows = np.flatnonzero(near)[::7] if near.sum() > 2000 else np.flatnonzero(near)
        weights, *_ = np.linalg.lstsq(terms[rows], values[rows], rcond=None)
        surface = np.clip(terms @ weights, 0, 255)
        if round_number == 0:
            inside = np.ones(len(values), dtype=bool)
    return surface.reshape(rgb.shape).astype(np.float32)


def _distance(rgb: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Lab distance of every pixel to the background that would be there."""
    levels = np.rint(ground).astype(np.uint8)
    return np.asarray(np.linalg.norm(lab_pixels(rgb) - lab_pixels(levels), axis=2))


def shadow_mask(rgb: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Where the picture looks like the background darkened softly."""
    lab, base = lab_pixels(rgb), lab_pixels(np.rint(ground).astype(np.uint8))
    deeper = base[..., 0] - lab[..., 0]
    ratio = np.clip(lab[..., :1] / np.maximum(base[..., :1], 1.0), 0.0, 1.0)
    tint = np.linalg.norm(lab[..., 1:] - base[..., 1:] * ratio, axis=2)
    smooth = ndimage.gaussian_filter(lab[..., 0], 1.0)
    slope = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)) / 8.0
    soft = ndimage.maximum_filter(slope, 3) < _SHADOW_SLOPE
    return np.asarray((deeper > 0) & (deeper < _SHADOW_DEPTH) & (tint < _SHADOW_CHROMA) & soft)


def _first_guess(rgb: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """GrabCut's labels: 0 surely ground, 1 surely product, 2 probably ground, 3 probably product."""
    distance = ndimage.gaussian_filter(_distance(rgb, ground), 0.7)
    shadow = shadow_mask(rgb, ground)
    outside = _from_frame((distance < _SURE_GROUND) | (shadow & (distance < _SURE_PRODUCT)))
    likely = (distance > (_SURE_GROUND + _SURE_PRODUCT) / 2) & ~_from_frame((distance < _SURE_GROUND) | shadow)
    labels = np.where(likely, 3, 2).astype(np.uint8)
    labels[ndimage.binary_erosion(outside & (distance < _SURE_GROUND), iterations=2, border_value=1)] = 0
    labels[ndimage.binary_erosion(likely & (distance > _SURE_PRODUCT), iterations=3, border_value=1)] = 1
    return labels


def _from_frame(mask: np.ndarray) -> np.ndarray:
    """The parts of `mask` that reach the picture's edge."""
    parts, _ = ndimage.label(mask)
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return np.asarray(np.isin(parts, edge[edge > 0]))


def _grabcut(rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
    cv2 = opencv()
    if not ((labels == 1) | (labels == 3)).any() or not ((labels == 0) | (labels == 2)).any():
        raise NotCutError("nothing stands out from the background")
    # Its first clustering draws from OpenCV's own generator.
    cv2.setRNGSeed(0)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    models = np.zeros((1, 65)), np.zeros((1, 65))
    done, *_ = cv2.grabCut(bgr, labels.copy(), None, *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((done == 1) | (done == 3))


def clean_mask(mask: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Keep the large parts, and of their holes those that show the background.

    Args:
        mask: (H, W) bool.
        distance: (H, W) Lab distance to the background's surface.

    Returns:
        (H, W) bool; all False where nothing is left.
    """
    mask = ndimage.binary_opening(mask, iterations=1) | (mask & ndimage.binary_erosion(mask))
    parts, count = ndimage.label(mask)
    if not count:
        return np.asarray(mask)
    areas = np.bincount(parts.ravel())[1:]
    kept = np.isin(parts, 1 + np.flatnonzero(areas >= _MIN_PART_FRAC * areas.max()))
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
            hole_areas[number - 1] >= _MIN_HOLE_FRAC * filled.sum()
            and float(np.median(distance[hole])) < _SURE_GROUND
            and float(inward[hole].min()) <= _MAX_BRIDGE_FRAC * size
        )
        if not open_hole:
            kept = kept | hole
    return np.asarray(kept)


def sides_cut(mask: np.ndarray) -> tuple[Side, ...]:
    """The sides of the picture that cut the mask."""
    covered: dict[Side, np.ndarray] = {
        "left": np.all(mask[:, :2], axis=1, keepdims=True),
        "top": np.all(mask[:2], axis=0, keepdims=True),
        "right": np.all(mask[:, -2:], axis=1, keepdims=True),
        "bottom": np.all(mask[-2:], axis=0, keepdims=True),
    }
    return tuple(name for name, line in covered.items() if line.mean() >= _MIN_CUT_FRAC)


def _refuse_bad(mask: np.ndarray, cut: tuple[Side, ...], rgb: np.ndarray, ground: np.ndarray) -> None:
    share = float(mask.mean())
    if share < _MIN_AREA_FRAC:
        raise NotCutError(f"product covers {share:.1%} of the picture, under {_MIN_AREA_FRAC:.0%}")
    if share > _MAX_AREA_FRAC:
        raise NotCutError(f"product covers {share:.0%} of the picture: no background is left to tell it from")
    if len(cut) == 4 or (len(cut) == 3 and share > 0.6):
        raise NotCutError(f"product is cut by {len(cut)} sides of the picture")
    border = mask & ~ndimage.binary_erosion(mask, border_value=1)
    raggedness = float(border.sum()) / (4.0 * float(np.sqrt(mask.sum())))
    parts = ndimage.label(mask)[1]
    if raggedness > _MAX_RAGGEDNESS / 4.0 or parts > 8:
        raise NotCutError(f"mask is ragged: outline {raggedness:.1f} times that of a square, {parts} parts")
    if float((mask & shadow_mask(rgb, ground)).sum()) > 0.85 * mask.sum():
        raise NotCutError("what stands out is a shadow, or as pale and smooth as one")
    contrast = float(np.median(_distance(rgb, ground)[mask]))
    if contrast < _MIN_CONTRAST:
        raise NotCutError(f"product is the colour of its background: median Lab distance {contrast:.1f}")
