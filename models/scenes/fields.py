"""Random numbers as pictures: colours, smooth noise, folds. Legend: H, W height and width; noise is about -1 to 1."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from PIL import Image

Rgb = tuple[float, float, float]
"""sRGB, 0 to 255."""

_GAMUT = ((0.0, 0.12), (0.3, 0.75), (0.75, 1.0))
"""Saturation of greyish, plain and vivid colours."""


def chance(rng: np.random.Generator, share: float) -> bool:
    """True in `share` of the calls."""
    return bool(rng.random() < share)


def colour(rng: np.random.Generator, low: float = 0.15, high: float = 0.97, vivid: float = 0.25) -> Rgb:
    """Any colour: a third greyish, `vivid` of them strong.

    Args:
        rng: Its source.
        low: Darkest value, 0 to 1.
        high: Lightest value.
        vivid: Share of strong colours.
    """
    draw = rng.random()
    band = _GAMUT[2] if draw < vivid else _GAMUT[0] if draw < vivid + 0.35 else _GAMUT[1]
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*band), rng.uniform(low, high))
    return r * 255, g * 255, b * 255


def quiet(rng: np.random.Generator, low: float = 0.35, high: float = 0.95) -> Rgb:
    """A colour of walls and floors: grey, beige, pale blue or green; `low` and `high` bound its value, 0 to 1."""
    hue = rng.normal(0.09, 0.05) if rng.random() < 0.7 else rng.random()
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, min(abs(rng.normal(0.0, 0.16)), 0.5), rng.uniform(low, high))
    return r * 255, g * 255, b * 255


def near(rng: np.random.Generator, base: np.ndarray | Rgb, levels: float) -> Rgb:
    """A colour about `levels` from `base` in each channel."""
    moved = np.clip(np.asarray(base, dtype=np.float64) + rng.normal(0, levels, 3), 4, 251)
    return float(moved[0]), float(moved[1]), float(moved[2])


def noise(rng: np.random.Generator, height: int, width: int, bumps: float, stretch: float = 1.0) -> np.ndarray:
    """(H, W) float32 smooth noise.

    Args:
        rng: Its source.
        height: H.
        width: W.
        bumps: Along the longer side; pixels where it is as large as that.
        stretch: Above 1 the bumps are so much wider than high.
    """
    side = max(height, width)
    rows = max(2, min(height, math.ceil(bumps * height / side)))
    columns = max(2, min(width, math.ceil(bumps * width / side / stretch)))
    small = rng.standard_normal((rows, columns), dtype=np.float32) * 0.5
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def folds(rng: np.random.Generator, height: int, width: int, strength: float) -> np.ndarray:
    """Light on creased cloth: (H, W) float32 around 1.

    Ridges of two sizes, bent and lit from one side; creases run together because one field bends both.

    Args:
        rng: Its source.
        height: H.
        width: W.
        strength: 0 flat, 1 crumpled.
    """
    h, w = max(8, height // 2), max(8, width // 2)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / max(h, w)
    turn = rng.uniform(0, math.pi)
    bend = noise(rng, h, w, 4) * rng.uniform(0.06, 0.25)
    along = x * math.cos(turn) + y * math.sin(turn) + bend
    relief = np.zeros((h, w), np.float32)
    for waves, share in ((rng.uniform(2, 6), 1.0), (rng.uniform(6, 14), 0.4)):
        ridge = 1.0 - np.abs(np.sin(along * waves * math.pi + 3.0 * noise(rng, h, w, 3)))
        relief += share * ridge * np.clip(0.5 + noise(rng, h, w, 5), 0, 1.3)
    relief += 0.5 * noise(rng, h, w, 9)
    light = rng.uniform(0, 2 * math.pi)
    gy, gx = np.gradient(relief)
    lit = (gx * math.cos(light) + gy * math.sin(light)) * (max(h, w) / 28.0)
    shade = np.clip(1.0 + strength * (0.55 * lit + 0.08 * (relief - relief.mean())), 0.35, 1.35).astype(np.float32)
    return np.asarray(Image.fromarray(shade).resize((width, height), Image.Resampling.BILINEAR))


def to_image(values: np.ndarray) -> Image.Image:
    """Float levels to an 8-bit picture of as many channels."""
    return Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))
