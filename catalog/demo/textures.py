"""Cloth, clay, leather and metal: the pattern and grain that fill a part of a product.

A texture is a float32 array `(side, side, 3)`, sRGB 0 to 255, as large as the easel it is painted on.
"""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageDraw

from catalog.demo.outlines import ellipse
from catalog.demo.palette import Rgb
from catalog.demo.seeds import noise_of

GLOSS: dict[str, float] = {
    "ceramic": 0.75,
    "enamel": 0.8,
    "glass": 1.0,
    "metal": 0.95,
    "leather": 0.4,
    "satin": 0.45,
    "plastic": 0.7,
    "rubber": 0.3,
    "wood": 0.2,
}
"""Strength of the highlight, 0 to 1; what is not listed is matt."""


def scaled(colour: Rgb, factor: float) -> Rgb:
    """`colour` darker (factor below 1) or lighter, towards white."""
    if factor <= 1:
        r, g, b = (int(c * factor) for c in colour)
    else:
        r, g, b = (int(c + (255 - c) * min(1.0, factor - 1)) for c in colour)
    return r, g, b


def pattern(name: str, base: Rgb, accent: Rgb, side: int, rng: random.Random) -> np.ndarray:
    """The printed or woven pattern `name` in two colours.

    Args:
        name: One of the taxonomy's pattern values; a name without a drawing is `solid`.
        base: Ground colour.
        accent: Colour of the figure.
        side: Pixels.
        rng: Decides period, width and angle; give the group's, so that colour variants share them.
    """
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    period = rng.uniform(0.055, 0.13)
    duty = rng.uniform(0.3, 0.62)
    style = rng.random()
    ground = np.empty((side, side, 3), np.float32)
    ground[:] = base
    over = np.array(accent, np.float32)

    def lay(mask: np.ndarray, strength: float = 1.0) -> np.ndarray:
        weight = (mask.astype(np.float32) * strength)[..., None]
        return ground * (1 - weight) + over * weight

    if name == "stripes":
        if style < 0.55:
            return lay((y % period) < period * duty)
        if style < 0.8:
            return lay((x % period) < period * duty)
        return lay(((x + y) % (period * 1.4)) < period * duty * 1.4)
    if name == "checks":
        period *= 1.25
        horizontal, vertical = (y % period) < period * duty, (x % period) < period * duty
        checked = lay((horizontal.astype(np.float32) + vertical) / 2)
        if style < 0.4:
            thin = ((y + period / 3) % period < 0.006) | ((x + period / 3) % period < 0.006)
            checked[thin] *= 0.55
        return checked
    if name == "dots":
        row = np.floor(y / period)
        dx = ((x + (row % 2) * period / 2) % period) - period / 2
        dy = (y % period) - period / 2
        return lay(dx * dx + dy * dy < (period * (0.16 + 0.24 * style)) ** 2)
    if name == "zigzag":
        wave = np.abs(((x / (period * 1.3)) % 1) - 0.5) * period * 1.3
        return lay(((y + wave) % period) < period * duty)
    if name in ("colour block", "two-tone"):
        edge = rng.uniform(0.42, 0.62)
        slope = rng.choice((0.0, 0.0, 0.35, -0.35)) if name == "colour block" else 0.0
        return lay((y + slope * (x - 0.5)) > edge) if style < 0.75 else lay(x > rng.uniform(0.45, 0.55))
    if name == "speckled":
        grain = noise_of(rng.getrandbits(63)).random((side // 3 + 1, side // 3 + 1))
        coarse = np.asarray(Image.fromarray((grain > 0.93).astype(np.uint8) * 255).resize((side, side)), np.float32)
        return lay(coarse / 255, 0.9)
    if name == "pleats":
        shade = 0.82 + 0.18 * np.cos(2 * math.pi * x / (period * 0.5))
        return ground * shade[..., None]
    if name == "floral":
        return _floral(base, accent, side, rng)
    return ground


def _floral(base: Rgb, accent: Rgb, side: int, rng: random.Random) -> np.ndarray:
    image = Image.new("RGB", (side, side), base)
    pen = ImageDraw.Draw(image)
    num_petals, size, step = rng.choice((4, 5, 6)), rng.uniform(0.02, 0.042), rng.uniform(0.1, 0.15)
    leaf = scaled((58, 120, 64), rng.uniform(0.7, 1.2))
    heart = scaled(accent, 0.55) if sum(accent) > 500 else (244, 206, 80)
    rows = int(1 / step) + 2
    for i in range(rows * rows):
        cx = ((i % rows) + (i // rows % 2) / 2 + rng.uniform(-0.2, 0.2)) * step
        cy = (i // rows + rng.uniform(-0.2, 0.2)) * step
        turn = rng.uniform(0, 6.3)
        for sign in (-1, 1):
            lx, ly = cx + 1.9 * size * math.cos(turn + sign), cy + 1.9 * size * math.sin(turn + sign)
            pen.line([(cx * side, cy * side), (lx * side, ly * side)], fill=leaf, width=max(1, int(size * side / 3)))
        for k in range(num_petals):
            angle = turn + 2 * math.pi * k / num_petals
            px, py = cx + size * math.cos(angle), cy + size * math.sin(angle)
            pen.polygon([(u * side, v * side) for u, v in ellipse(px, py, 0.62 * size, 0.62 * size)[::4]], fill=accent)
        r = 0.45 * size
        pen.ellipse([(cx - r) * side, (cy - r) * side, (cx + r) * side, (cy + r) * side], fill=heart)
    return np.asarray(image, np.float32)


def smooth_noise(noise: np.random.Generator, side: int, nx: int, ny: int) -> np.ndarray:
    """Noise of `nx` x `ny` bumps, about -1 to 1."""
    small = Image.fromarray(noise.normal(0, 0.5, (max(2, ny), max(2, nx))).astype(np.float32))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))


def grain(material: str, side: int, noise: np.random.Generator) -> np.ndarray | None:
    """Brightness of the material's surface, `(side, side)` around 1; None where it is smooth."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    fine = min(side, 256)
    if material in ("cotton", "canvas"):
        return 1 + (0.05 if material == "cotton" else 0.09) * smooth_noise(noise, side, fine, fine)
    if material == "linen":
        return 1 + 0.09 * smooth_noise(noise, side, fine, 24) + 0.09 * smooth_noise(noise, side, 24, fine)
    if material == "denim":
        return 1 + 0.07 * np.sin((x + y) * 330) + 0.13 * smooth_noise(noise, side, 90, 200)
    if material == "corduroy":
        return 0.94 + 0.17 * np.sin(x * 2 * math.pi * 42)
    if material == "knit":
        return 0.93 + 0.13 * np.sin(x * 2 * math.pi * 34) * np.cos(y * 2 * math.pi * 30 + 2 * np.abs(np.sin(x * 107)))
    if material == "leather":
        return 1 + 0.06 * smooth_noise(noise, side, 110, 110) + 0.07 * smooth_noise(noise, side, 14, 14)
    if material == "suede":
        return 1 + 0.13 * smooth_noise(noise, side, 60, 60) + 0.1 * smooth_noise(noise, side, 10, 10)
    if material == "straw":
        return 0.9 + 0.22 * np.sign(np.sin(x * 2 * math.pi * 24) * np.sin(y * 2 * math.pi * 24))
    if material == "mesh":
        return np.where(np.sin(x * 2 * math.pi * 40) * np.sin(y * 2 * math.pi * 40) > 0.55, 0.7, 1.03)
    if material == "wood":
        return 1 + 0.17 * smooth_noise(noise, side, 40, 4) + 0.06 * smooth_noise(noise, side, 150, 8)
    if material == "metal":
        return 1 + 0.04 * smooth_noise(noise, side, 6, fine)
    if material == "satin":
        return 1 + 0.1 * smooth_noise(noise, side, 12, 5)
    return None
