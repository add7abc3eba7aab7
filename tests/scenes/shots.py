"""Rendered products with their true masks, and small photographs with known products."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from catalog import decode_image
from catalog.demo.assortment import plan_articles
from catalog.demo.camera import take
from catalog.demo.sessions import draw, shop_views


@cache
def demo_shots(num_products: int, size_px: int = 192) -> tuple[tuple[Image.Image, np.ndarray], ...]:
    """Main views of the demo shop's products, spread over its kinds: the JPEG as decoded, and the true mask."""
    articles = plan_articles(600, 7)[:: 600 // num_products]
    shots = []
    for article in articles[:num_products]:
        view = shop_views(article)[0][1]
        shot = take(draw(article, "shop", size_px), view, size_px)
        shots.append((decode_image(shot.jpeg(view.quality), article.product_id), np.asarray(shot.mask) >= 128))
    return tuple(shots)


def studio_photo(
    mask: np.ndarray, colour: tuple[int, int, int], ground: tuple[int, int, int] = (250, 250, 250)
) -> Image.Image:
    """A flat product on a flat background, with a little texture so that it is no poster."""
    noise = np.random.default_rng(3).normal(0, 1.0, (*mask.shape, 3))
    pixels = np.where(mask[..., None], np.array(colour), np.array(ground)) + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def disc(size_px: int = 160, radius_px: float = 45.0, centre: tuple[float, float] | None = None) -> np.ndarray:
    """(size, size) bool."""
    cx, cy = centre or (size_px / 2, size_px / 2)
    y, x = np.mgrid[0:size_px, 0:size_px] + 0.5
    return np.asarray((x - cx) ** 2 + (y - cy) ** 2 < radius_px**2)
