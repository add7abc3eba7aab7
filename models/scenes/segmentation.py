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
from models.scenes.masks import MAX_BRIDGE_FRAC, MIN_HOLE_FRAC, clean_mask

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
_MAX_OPEN_FRAC = 0.15
"""Of a person, the gaps between arms and body; a bag's handle may leave more."""
_MIN_AREA_FRAC, _MAX_AREA_FRAC = 0.02, 0.9
_MAX_RAGGEDNESS = 14.0
_MIN_CUT_FRAC = 0.04
"""A side is cut where the mask covers at least this share of it."""
_MIN_CONTRAST = 6.0
_RING_CONTRAST, _RING_FRAC = 9.0, 0.75
_PALE_LEVEL, _PALE_RIM, _PALE_AREA_FRAC, _EVEN_LEVEL = 1.0, 0.7, 0.01, 9.0
_MIN_SOLIDITY = 0.5
"""Share of its convex hull that a product in pieces fills: two shoes do, two sleeves whose shirt is lost do not."""


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
    distance = ground_distance(rgb, ground)
    shadow = shadow_mask(rgb, ground)
    mask = _grabcut(rgb, _first_guess(distance, shadow))
    mask = with_pale_parts(without_shadows(mask, rgb, distance, shadow), distance)
    mask = clean_mask(mask, shadow | (distance < _SURE_GROUND))
    cut = sides_cut(mask)
    _refuse_bad(mask, cut, distance, shadow)
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


def ground_distance(rgb: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Lab distance of every pixel to the background that would be there, (H, W); smoothed, so that noise cancels."""
    difference = lab_pixels(rgb) - lab_pixels(np.rint(ground).astype(np.uint8))
    return np.asarray(np.linalg.norm(ndimage.gaussian_filter(difference, (0.8, 0.8, 0)), axis=2))


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


def _first_guess(distance: np.ndarray, shadow: np.ndarray) -> np.ndarray:
    """GrabCut's labels: 0 surely ground, 1 surely product, 2 probably ground, 3 probably product."""
    flat = distance < _SURE_GROUND
    likely = (distance > (_SURE_GROUND + _SURE_PRODUCT) / 2) & ~_from_frame(flat | shadow)
    labels = np.where(likely, 3, 2).astype(np.uint8)
    labels[ndimage.binary_erosion(_from_frame(flat), iterations=2, border_value=1)] = 0
    labels[ndimage.binary_erosion(likely & (distance > _SURE_PRODUCT), iterations=3, border_value=1)] = 1
    return labels


def without_shadows(mask: np.ndarray, rgb: np.ndarray, distance: np.ndarray, shadow: np.ndarray) -> np.ndarray:
    """Take out of the mask the shadows behind a handle and between legs.

    Such a part looks like the darkened background, lies behind something thin, and nearly all round it is a product
    of another colour: a pale garment has the background along much of its edge, a print lies deep inside.
    """
    filled = ndimage.binary_fill_holes(mask)
    parts, count = ndimage.label(ndimage.binary_opening(filled & (shadow | (distance < _SURE_GROUND))))
    if not count:
        return mask
    lab = lab_pixels(rgb)
    inward = ndimage.distance_transform_edt(np.pad(filled, 1, constant_values=True))[1:-1, 1:-1]
    size = float(np.sqrt(filled.sum()))
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    for number in np.flatnonzero((areas >= MIN_HOLE_FRAC * filled.sum()) & (areas <= 0.25 * filled.sum())):
        part = parts == number
        ring = ndimage.binary_dilation(part, iterations=6) & ~ndimage.binary_dilation(part, iterations=3)
        apart = np.linalg.norm(lab[ring] - np.median(lab[part], axis=0), axis=1) > _RING_CONTRAST
        if float(np.mean(apart & filled[ring])) > _RING_FRAC and float(inward[part].min()) <= MAX_BRIDGE_FRAC * size:
            mask = mask & ~ndimage.binary_dilation(part, iterations=2)
    return np.asarray(mask)


def with_pale_parts(mask: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Add parts of nearly the background's colour: a white shirt before a white wall.

    A shadow fades out, such a part begins at once: a few pixels inside its edge it differs from the background as
    much as in its middle.
    """
    edge = np.ones(mask.shape, dtype=bool)
    edge[4:-4, 4:-4] = False
    flat = distance[edge & (distance < _SURE_GROUND)]
    level = max(_PALE_LEVEL, 2.0 * float(np.quantile(flat, 0.95)) if len(flat) else 0.0)
    parts, count = ndimage.label(ndimage.binary_opening((distance > level) & ~mask))
    if not count:
        return mask
    depth = ndimage.distance_transform_edt((distance > level) | mask)
    near_mask = ndimage.binary_dilation(mask, iterations=3)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    added = mask
    for number in np.flatnonzero(areas >= _PALE_AREA_FRAC * mask.sum()):
        part = parts == number
        if not (part & near_mask).any():
            continue
        rim, middle = distance[part & (depth > 1.5) & (depth <= 3.5)], distance[part & (depth > 6)]
        if len(rim) < 20 or len(middle) < 20:
            # Enclosed by the product: cloth is evenly pale, the shadow in a gap runs from nothing to dark.
            even = float(np.quantile(distance[part], 0.9)) < _EVEN_LEVEL
        else:
            even = float(np.median(rim)) > _PALE_RIM * float(np.median(middle))
        if even:
            added = added | part
    return mask if added is mask else np.asarray(ndimage.binary_closing(added, iterations=2) | added)


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


def sides_cut(mask: np.ndarray) -> tuple[Side, ...]:
    """The sides of the picture that cut the mask."""
    covered: dict[Side, np.ndarray] = {
        "left": np.all(mask[:, :2], axis=1, keepdims=True),
        "top": np.all(mask[:2], axis=0, keepdims=True),
        "right": np.all(mask[:, -2:], axis=1, keepdims=True),
        "bottom": np.all(mask[-2:], axis=0, keepdims=True),
    }
    return tuple(name for name, line in covered.items() if line.mean() >= _MIN_CUT_FRAC)


def _refuse_bad(mask: np.ndarray, cut: tuple[Side, ...], distance: np.ndarray, shadow: np.ndarray) -> None:
    share = float(mask.mean())
    if share < _MIN_AREA_FRAC:
        raise NotCutError(f"product covers {share:.1%} of the picture, under {_MIN_AREA_FRAC:.0%}")
    if share > _MAX_AREA_FRAC:
        raise NotCutError(f"product covers {share:.0%} of the picture: no background is left to tell it from")
    if len(cut) == 4 or (len(cut) == 3 and share > 0.6):
        raise NotCutError(f"product is cut by {len(cut)} sides of the picture")
    if cut and ndimage.label(ndimage.binary_dilation(mask))[1] > 1:
        raise NotCutError("product is cut by the frame and in pieces: a part is lost in the background")
    if _solidity(mask) < _MIN_SOLIDITY and ndimage.label(ndimage.binary_dilation(mask))[1] > 1:
        raise NotCutError("product is in pieces far apart: a part is lost in the background")
    filled = ndimage.binary_fill_holes(mask)
    if cut and int((filled & ~mask).sum()) > _MAX_OPEN_FRAC * int(filled.sum()):
        raise NotCutError("product is cut by the frame and has a large gap: a pale part is lost in the background")
    border = mask & ~ndimage.binary_erosion(mask, border_value=1)
    raggedness = float(border.sum()) / (4.0 * float(np.sqrt(mask.sum())))
    parts = ndimage.label(mask)[1]
    if raggedness > _MAX_RAGGEDNESS / 4.0 or parts > 8:
        raise NotCutError(f"mask is ragged: outline {raggedness:.1f} times that of a square, {parts} parts")
    if float((mask & shadow).sum()) > 0.85 * mask.sum():
        raise NotCutError("what stands out is a shadow, or as pale and smooth as one")
    contrast = float(np.median(distance[mask]))
    if contrast < _MIN_CONTRAST:
        raise NotCutError(f"product is the colour of its background: median Lab distance {contrast:.1f}")


def _solidity(mask: np.ndarray) -> float:
    """Share of its convex hull that a mask fills."""
    hull = np.zeros(mask.shape, np.uint8)
    cv2 = opencv()
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.ascontiguousarray(points)), 1)
    return float(mask.sum() / max(int(hull.sum()), 1))
