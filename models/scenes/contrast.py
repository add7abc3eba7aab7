"""Whether a person sees where the product ends: contrast across its outline, and how to keep it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from models.regions.saliency_maps import lab_pixels
from models.scenes.arranging import product_mask
from models.scenes.backgrounds import mean_colour
from models.scenes.fabric import tinted
from models.scenes.layers import Layer, mask_box

MIN_OUTLINE_CONTRAST = 12.0
"""Lab distance across half of the outline at least. Our choice, by eye on scenes sorted by it: below 10 one searches
for the product, above 12 one sees it at once."""
_REACH = 1 / 80
"""How far from the outline one looks, standard deviation, as a share of the picture's longer side."""


def outline_contrast(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Median over a product's outline of the Lab distance between what lies just inside and just outside.

    Args:
        pixels: (H, W, 3), levels 0 to 255.
        mask: (H, W) bool: what is seen of the product.

    Returns:
        0 where nothing is seen of the product, infinity where it leaves nothing else to see.
    """
    if not mask.any():
        return 0.0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    sigma = max(mask.shape) * _REACH
    margin = 3 * round(sigma) + 2
    window = (
        slice(max(rows[0] - margin, 0), rows[-1] + 1 + margin),
        slice(max(columns[0] - margin, 0), columns[-1] + 1 + margin),
    )
    inside = mask[window]
    if inside.all():
        return float("inf")
    lab = lab_pixels(np.clip(pixels[window] + 0.5, 0, 255).astype(np.uint8)).astype(np.float32)
    means = []
    for part in (inside, ~inside):
        weight = part.astype(np.float32)[..., None]
        total = ndimage.gaussian_filter(lab * weight, (sigma, sigma, 0), mode="nearest", truncate=2.5)
        share = ndimage.gaussian_filter(weight, (sigma, sigma, 0), mode="nearest", truncate=2.5)
        means.append(total / np.maximum(share, 1e-3))
    outline = inside & ~ndimage.binary_erosion(inside, border_value=1)
    return float(np.median(np.linalg.norm(means[0] - means[1], axis=2)[outline]))


def away_from(ground: np.ndarray) -> np.ndarray:
    """A colour that stands out from `ground`, (3,): as much darker as a light one allows, or lighter."""
    if float(ground.mean()) > 127.0:
        return np.asarray(0.15 * ground)
    return np.asarray(255.0 - 0.15 * (255.0 - ground))


def in_sight(
    rng: np.random.Generator,
    ground: np.ndarray,
    layers: Sequence[Layer],
    size_px: tuple[int, int],
    camouflaged: bool,
    exposed: Callable[[Sequence[Layer]], np.ndarray],
) -> np.ndarray:
    """The picture, its product's colour moved so far that its outline can be seen, or nearly lost on purpose.

    Args:
        rng: Its source.
        ground: (H, W, 3) float32 without layers.
        layers: What is in the picture.
        size_px: Width and height of the picture.
        camouflaged: Move the product's colour to its ground's, as far as the outline allows.
        exposed: Takes the photograph of layers.

    Returns:
        (H, W, 3) float32: the first of camouflaged less and less, as it is, and moved away from the ground's colour
        that has `MIN_OUTLINE_CONTRAST`; where none has, the one that has most.
    """
    mask = product_mask(layers, size_px)
    box = mask_box(mask) if mask is not None else None
    if mask is None or box is None:
        return exposed(layers)
    x0, y0, x1, y1 = (int(value) for value in box)
    beneath = mean_colour(ground[y0:y1, x0:x1])
    shares = [rng.uniform(0.5, 0.8) * k for k in (1.0, 0.6, 0.3)] if camouflaged else []
    nearly = beneath + rng.normal(0, 16, 3)
    tints = [*((nearly, share) for share in shares), None, *((away_from(beneath), share) for share in (0.4, 0.8))]
    best, most = np.empty(0), -1.0
    for tint in tints:
        pixels = exposed(layers if tint is None else _dyed(layers, *tint))
        contrast = outline_contrast(pixels, mask)
        if contrast >= MIN_OUTLINE_CONTRAST:
            return pixels
        if contrast > most:
            best, most = pixels, contrast
    return best


def _dyed(layers: Sequence[Layer], target: np.ndarray, share: float) -> list[Layer]:
    return [
        replace(layer, image=tinted(layer.image, target, share)) if layer.kind == "product" else layer
        for layer in layers
    ]
