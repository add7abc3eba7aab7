"""The phone that takes a scene: exposure, colour temperature, lens, sensor, compression."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from models.scenes.fields import chance, to_image


def expose(rng: np.random.Generator, pixels: np.ndarray, studio: bool) -> np.ndarray:
    """Gain, contrast and colour temperature.

    Args:
        rng: Its source.
        pixels: (H, W, 3) float32.
        studio: Little of each.
    """
    reach = 0.3 if studio else 1.0
    warmth, green = rng.normal(0, 0.07) * reach, rng.normal(0, 0.02) * reach
    gain = np.array([1 + warmth, 1 + green, 1 - warmth], np.float32) * float(np.exp(rng.normal(-0.03, 0.18) * reach))
    gamma = float(np.exp(rng.normal(0, 0.16) * reach))
    lit = np.clip(pixels * gain / 255, 0, 1)
    haze = rng.uniform(0, 0.08) * reach
    return np.asarray((haze + (1 - haze) * lit**gamma) * 255)


def develop(rng: np.random.Generator, pixels: np.ndarray, studio: bool) -> Image.Image:
    """Blur, noise and JPEG.

    Args:
        rng: Its source.
        pixels: (H, W, 3) float32, after `expose`.
        studio: Sharp and clean.
    """
    picture = to_image(pixels)
    if chance(rng, 0.1 if studio else 0.4):
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.1) * max(picture.size) / 320))
    if not studio and chance(rng, 0.12):
        small = (
            max(8, int(picture.width * rng.uniform(0.35, 0.7))),
            max(8, int(picture.height * rng.uniform(0.35, 0.7))),
        )
        picture = picture.resize(small, Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.BICUBIC)
    level = rng.uniform(0, 1.5) if studio else rng.gamma(1.6, 2.0)
    if level > 0.4:
        grain = rng.standard_normal((picture.height, picture.width), dtype=np.float32) * level
        tint = rng.standard_normal((picture.height // 2 + 1, picture.width // 2 + 1, 3), dtype=np.float32) * level * 0.5
        spread = tint.repeat(2, axis=0).repeat(2, axis=1)[: picture.height, : picture.width]
        picture = to_image(np.asarray(picture, np.float32) + grain[..., None] + spread)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(80, 96) if studio else rng.integers(45, 95)))
    return Image.open(buffer).convert("RGB")
