"""The maps behind the saliency detector: Lab colours, border model, geodesic distance, colour posteriors.

Legend: H, W the working picture's height and width; K colour clusters; maps are (H, W) float64.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

_NUM_COLOURS = 32
_BINS = 20
"""Histogram bins a Lab channel."""
_SAME_COLOUR = 12.0
"""Lab distance within which shares of the frame are pooled: one wall has many shades."""
_GROUND_RATIO = 0.35
"""A colour whose share of the frame is this part of its share of the picture is as likely ground as product."""
_NO_GROUND_COST = 40.0
"""Lab distance added to the colours that are surely not ground."""
_ENTRY_WEIGHT = 0.4
"""Of a frame pixel's distance to the ground: what a path pays to enter there. 0 would call all that touches the
frame ground, 1 would trust the colours alone."""
_GEODESIC_WEIGHT = 0.85
_SOFTNESS = 0.2
"""Half width of the ramp around the level that parts product from ground."""
_CONTRAST_FLOOR = 6.0
"""Lab distance under which two colours are the same to a shopper: compression noise and soft shadows."""


def lab_pixels(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB pixels.

    Args:
        rgb: (..., 3) uint8.

    Returns:
        (..., 3) float64: L in 0..100, a and b in about -100..100.
    """
    linear = _LINEAR[rgb]
    xyz = linear @ _RGB_TO_WHITE
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), xyz * (24389 / 27 / 116) + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def _linear_table() -> np.ndarray:
    value = np.arange(256) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


_LINEAR = _linear_table()
_WHITE = np.array([0.95047, 1.0, 1.08883])
_RGB_TO_XYZ: np.ndarray = np.array(
    [[0.4124564, 0.2126729, 0.0193339], [0.3575761, 0.7151522, 0.1191920], [0.1804375, 0.0721750, 0.9503041]]
)
_RGB_TO_WHITE = np.divide(_RGB_TO_XYZ, _WHITE)


def border_mask(shape: tuple[int, int], border_frac: float) -> np.ndarray:
    """The picture's frame: (H, W) bool."""
    width = max(round(border_frac * min(shape)), 1)
    mask = np.ones(shape, dtype=bool)
    mask[width:-width, width:-width] = False
    return mask


def foreground_map(rgb: np.ndarray, border_frac: float) -> np.ndarray:
    """How much each pixel belongs to a product.

    Args:
        rgb: (H, W, 3) uint8, at least 8 px on each side.
        border_frac: Width of the frame taken for background, share of the shorter side.

    Returns:
        (H, W) float64 in 0..1; all 0 for a picture without contrast.
    """
    lab = lab_pixels(rgb)
    smooth = ndimage.gaussian_filter(lab, (1.0, 1.0, 0.0))
    frame = border_mask(rgb.shape[:2], border_frac)
    distance = border_distance(smooth, rgb, frame)
    if float(np.quantile(distance, 0.99)) < _CONTRAST_FLOOR:
        return np.zeros(rgb.shape[:2])
    geodesic = geodesic_distance(smooth, distance)
    prior = _unit(distance) * (1.0 - _GEODESIC_WEIGHT) + _unit(geodesic) * _GEODESIC_WEIGHT
    prior *= centre_weight(prior.shape)
    belief = colour_posterior(smooth, prior)
    cut = otsu_level(belief)
    return np.clip((belief - cut) / (2.0 * _SOFTNESS) + 0.5, 0.0, 1.0)


def border_distance(lab: np.ndarray, rgb: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Lab distance of every pixel to the nearest colour that is probably ground.

    A colour is ground as far as its share of the frame keeps up with its share of the picture: a product cut by the
    frame has most of its area inside. Colours are the median cut's, so that the order of pixels does not count.

    Args:
        lab: (H, W, 3), smoothed.
        rgb: (H, W, 3) uint8, what is clustered.
        frame: (H, W) bool, the pixels taken for background.

    Returns:
        (H, W), Lab units.
    """
    # Median cut is slow on many distinct colours; the last three bits of a channel are noise to it.
    palette = Image.fromarray(rgb & 0xF8).quantize(
        _NUM_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    index = np.asarray(palette)
    count = int(index.max()) + 1
    flat = index.ravel()
    area = np.bincount(flat, minlength=count).astype(np.float64)
    sums = np.stack([np.bincount(flat, lab[..., channel].ravel(), count) for channel in range(3)], axis=1)
    centres = np.divide(sums, np.maximum(area, 1.0)[:, None])
    on_frame = np.bincount(index[frame], minlength=count).astype(np.float64)
    gap = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    alike = np.exp(-((gap / _SAME_COLOUR) ** 2))
    share_frame = (alike @ on_frame) / on_frame.sum()
    share_area = (alike @ area) / area.sum()
    ratio = share_frame / np.maximum(share_area, 1e-6)
    ground = ratio**2 / (ratio**2 + _GROUND_RATIO**2)
    cost = gap + _NO_GROUND_COST * (1.0 - ground)[None, :]
    return cost.min(axis=1)[index]


def geodesic_distance(lab: np.ndarray, start: np.ndarray) -> np.ndarray:
    """`border_paths` at half the resolution, which is four times cheaper and less noisy.

    Args:
        lab: (H, W, 3).
        start: (H, W) Lab distance to the ground.

    Returns:
        (H, W), Lab units.
    """
    path = border_paths(_half(lab), _ENTRY_WEIGHT * _half(start[..., None])[..., 0])
    return np.repeat(np.repeat(path, 2, axis=0), 2, axis=1)[: lab.shape[0], : lab.shape[1]]


def border_paths(lab: np.ndarray, entry: np.ndarray) -> np.ndarray:
    """Cost of the cheapest path from the outermost pixels to every pixel, over edges of four neighbours.

    Args:
        lab: (H, W, 3). A step costs the colour change beyond the median one, which is texture and noise.
        entry: (H, W) cost of starting at an outermost pixel: low where it looks like ground.

    Returns:
        (H, W), Lab units.
    """
    height, width = entry.shape
    number = np.arange(height * width).reshape(height, width)
    right = np.linalg.norm(lab[:, 1:] - lab[:, :-1], axis=2).ravel()
    down = np.linalg.norm(lab[1:] - lab[:-1], axis=2).ravel()
    noise = float(np.median(np.concatenate([right, down])))
    source = height * width
    edge = np.ones((height, width), dtype=bool)
    edge[1:-1, 1:-1] = False
    rows = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel(), np.full(int(edge.sum()), source)])
    cols = np.concatenate([number[:, 1:].ravel(), number[1:].ravel(), number[edge]])
    # A sparse graph takes a cost of 0 for a missing edge.
    cost = np.concatenate([np.maximum(right - noise, 0.0), np.maximum(down - noise, 0.0), entry[edge]]) + 1e-3
    graph = csr_matrix((cost, (rows, cols)), shape=(source + 1, source + 1))
    return dijkstra(graph, directed=False, indices=source)[:source].reshape(height, width)


def _half(values: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels: (H, W, C) to (ceil(H / 2), ceil(W / 2), C); an odd last row or column counts twice."""
    height, width, channels = values.shape
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, channels).mean(axis=(1, 3))


def centre_weight(shape: tuple[int, int]) -> np.ndarray:
    """1 at the centre, falling to about 0.5 in the corners."""
    y = np.linspace(-1.0, 1.0, shape[0])[:, None]
    x = np.linspace(-1.0, 1.0, shape[1])[None, :]
    return np.exp(-0.35 * (x**2 + y**2))


def colour_posterior(lab: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Product against ground by Lab histograms of what the prior calls the one and the other.

    Returns:
        (H, W) in 0..1.
    """
    scaled = (lab + np.array([0.0, 100.0, 100.0])) / np.array([8.0, 10.0, 10.0])
    bins = np.clip(scaled.astype(np.int64), 0, _BINS - 1)
    key = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    product: np.ndarray = np.bincount(key.ravel(), prior.ravel(), _BINS**3).reshape((_BINS,) * 3)
    ground: np.ndarray = np.bincount(key.ravel(), 1.0 - prior.ravel(), _BINS**3).reshape((_BINS,) * 3)
    product, ground = ndimage.gaussian_filter(product, 0.8), ndimage.gaussian_filter(ground, 0.8)
    likely = (product / (product + ground + 1e-9)).ravel()[key]
    return _unit(ndimage.gaussian_filter(np.sqrt(likely * prior), 1.0))


def _unit(values: np.ndarray) -> np.ndarray:
    """Stretch to 0..1, the top at the 98th percentile so that a speck does not set the scale."""
    low, high = float(np.quantile(values, 0.02)), float(np.quantile(values, 0.98))
    return np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0)


def otsu_level(values: np.ndarray) -> float:
    """The level that best parts a map in 0..1 in two: the largest variance between the classes (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=64, range=(0.0, 1.0))
    middle = (edges[:-1] + edges[1:]) / 2.0
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sum_below = np.cumsum(counts * middle)[:-1]
    sum_above = float((counts * middle).sum()) - sum_below
    gap = sum_above / np.maximum(above, 1) - sum_below / np.maximum(below, 1)
    return float(edges[1 + int(np.argmax(below * above * gap**2))])
