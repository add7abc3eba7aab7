"""Photograph a sprite: place it, light it, put things around it, and say where it is.

The product is warped and lit at twice the final size and shrunk, which smooths its edges.
"""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from catalog.demo.backdrops import backdrop
from catalog.demo.clutter import badge, hand, prop
from catalog.demo.easel import Sprite
from catalog.demo.seeds import noise_of
from catalog.rows import Box

SUPERSAMPLING = 2
MASK_LEVEL = 96
"""A pixel belongs to the product when at least this much of it, out of 255, is covered."""


@dataclass(frozen=True)
class View:
    """How one photograph is taken. Lengths are fractions of the picture's side."""

    seed: int
    background: str = "studio"
    scale: float = 0.75
    """Longer side of the product's outline before tilting."""
    centre: tuple[float, float] = (0.5, 0.5)
    rotation_deg: float = 0.0
    tilt: float = 0.0
    """Strength of the perspective: how far the corners are pulled."""
    mirrored: bool = False
    light_deg: float = 225.0
    """Where the light comes from, clockwise from the right; 225 is the upper left."""
    light_height: float = 1.1
    exposure: float = 1.0
    warmth: float = 0.0
    """Colour temperature: positive is lamplight, negative shade."""
    num_props: int = 0
    with_hand: bool = False
    with_badge: bool = False
    blur: float = 0.0
    noise: float = 0.0
    """Sensor noise, standard deviation in grey levels."""
    quality: int = 88
    """JPEG quality."""


@dataclass(frozen=True)
class Shot:
    """A finished photograph, where the product is in it, and which pixels are the product."""

    image: Image.Image
    mask: Image.Image
    """Mode L, 255 where the product covers the pixel, things in front of it included."""
    box: Box
    """Core box in pixels: the mask's pixels, cut at the frame."""

    def jpeg(self, quality: int) -> bytes:
        buffer = io.BytesIO()
        self.image.save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()


def take(sprite: Sprite, view: View, size_px: int) -> Shot:
    """Photograph `sprite` as `view` says.

    Returns:
        A square picture of `size_px` pixels with its mask and core box.
    """
    rng = random.Random(view.seed)
    surface, alpha = _product(sprite, view, rng, size_px)
    sheet = _to_image(backdrop(view.background, rng, size_px))
    for _ in range(view.num_props):
        thing = prop(rng, size_px)
        fall = thing.getchannel("A").filter(ImageFilter.GaussianBlur(size_px / 60)).point(lambda v: v // 3)
        sheet.paste((30, 26, 24), (size_px // 60, size_px // 40), fall)
        sheet.paste(thing, (0, 0), thing)
    ground = np.asarray(sheet, np.float32) * (1 - _shadow(alpha, view, size_px))[..., None]
    picture = _to_image(ground * (1 - alpha[..., None]) + surface)
    if view.with_hand:
        x, y = view.centre
        palm = hand(rng, size_px, (x + rng.uniform(-0.16, 0.16), y + rng.uniform(0.28, 0.42) * view.scale))
        picture.paste(palm, (0, 0), palm)
    picture = _develop(picture, view, rng)
    if view.with_badge:
        sign = badge(rng, size_px)
        picture.paste(sign, (0, 0), sign)
    mask = _to_image(alpha * 255)
    return Shot(picture, mask, _box(mask))


def _product(sprite: Sprite, view: View, rng: random.Random, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The lit product alone: premultiplied colour `(size, size, 3)`, 0 to 255, and coverage `(size, size)`, 0 to 1."""
    side = size_px * SUPERSAMPLING
    corners, source, scale = _corners(sprite, view, rng, side)
    # Work only where the product is: the window is snapped to final pixels, so that shrinking stays exact.
    step = SUPERSAMPLING
    left, top = (max(0, int(min(c[k] for c in corners)) // step * step) for k in (0, 1))
    right, bottom = (min(side, -(-math.ceil(max(c[k] for c in corners)) // step) * step) for k in (0, 1))
    window = (right - left, bottom - top)
    if min(window) <= 0:
        return np.zeros((size_px, size_px, 3), np.float32), np.zeros((size_px, size_px), np.float32)
    data = _perspective([(x - left, y - top) for x, y in corners], source)

    def warp(image: Image.Image, resample: Image.Resampling = Image.Resampling.BILINEAR) -> np.ndarray:
        return np.asarray(image.transform(window, Image.Transform.PERSPECTIVE, data, resample), np.float32)

    colour, height = warp(sprite.colour), warp(sprite.height)
    gloss = warp(sprite.gloss, Image.Resampling.NEAREST)
    lit, shine = _light(height * np.float32(sprite.easel_px * scale), view)
    covered = colour[..., 3:]
    lit_colour = colour[..., :3] * lit[..., None]
    lit_colour += (shine * gloss)[..., None] * (covered * np.float32(235 / 255 / 255))
    surface = np.zeros((size_px, size_px, 3), np.float32)
    alpha = np.zeros((size_px, size_px), np.float32)
    place = (slice(top // step, bottom // step), slice(left // step, right // step))
    surface[place] = np.asarray(_to_image(lit_colour).reduce(step), np.float32)
    alpha[place] = np.asarray(_to_image(covered[..., 0]).reduce(step), np.float32) / 255
    return surface, alpha


def _to_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _box(mask: Image.Image) -> Box:
    bounds = mask.point(lambda v: 255 if v >= MASK_LEVEL else 0).getbbox() or (0, 0, *mask.size)
    x0, y0, x1, y1 = bounds
    return float(x0), float(y0), float(x1), float(y1)


def _corners(
    sprite: Sprite, view: View, rng: random.Random, side: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]], float]:
    """Where the sprite's corners fall in the frame, where they are in the sprite, and the scale between the two."""
    w, h = sprite.colour.size
    scale = view.scale * side / max(w, h)
    turn = math.radians(view.rotation_deg)
    c, s = math.cos(turn), math.sin(turn)
    corners = []
    for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        px = x * w / 2 * scale * (1 + rng.uniform(-view.tilt, view.tilt))
        py = y * h / 2 * scale * (1 + rng.uniform(-view.tilt, view.tilt))
        corners.append((view.centre[0] * side + c * px - s * py, view.centre[1] * side + s * px + c * py))
    source = [(0.0, 0.0), (float(w), 0.0), (float(w), float(h)), (0.0, float(h))]
    if view.mirrored:
        source = [(w - x, y) for x, y in source]
    return corners, source, scale


def _perspective(target: list[tuple[float, float]], source: list[tuple[float, float]]) -> list[float]:
    """The eight numbers with which PIL finds the source of each target pixel."""
    rows, right = [], []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return [float(value) for value in np.linalg.solve(np.array(rows, float), np.array(right, float))]


def _light(height: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of the surface (1 where it faces the camera) and its highlights, 0 to 1.

    Lambert's law with a large ambient part, and a Blinn-Phong highlight; slopes are limited, since a steep step in
    the relief is an edge and not a cliff.
    """
    gx = np.zeros_like(height)
    gy = np.zeros_like(height)
    gx[:, 1:-1] = (height[:, 2:] - height[:, :-2]) / 2
    gy[1:-1] = (height[2:] - height[:-2]) / 2
    np.clip(gx, -1.6, 1.6, out=gx)
    np.clip(gy, -1.6, 1.6, out=gy)
    angle = math.radians(view.light_deg)
    lx, ly, lz = math.cos(angle), math.sin(angle), view.light_height
    length = math.sqrt(1 + lz * lz)
    norm = np.sqrt(gx * gx + gy * gy + 1)
    facing = (-gx * lx - gy * ly + lz) / (norm * length)
    flat = lz / length
    lit = 0.5 + 0.5 * np.clip(facing, 0, None) / flat
    hx, hy, hz = lx / length, ly / length, lz / length + 1
    half = math.sqrt(hx * hx + hy * hy + hz * hz)
    towards = np.clip((-gx * hx - gy * hy + hz) / (norm * half), 0, 1)
    return np.clip(lit, 0.35, 1.3), towards**28 * 0.75


def _shadow(alpha: np.ndarray, view: View, side: int) -> np.ndarray:
    """A soft shadow away from the light and a tight one where the product touches its ground."""
    half = _to_image(alpha * 255).reduce(2)
    angle = math.radians(view.light_deg)
    dx, dy = -math.cos(angle) * side * 0.0085, -math.sin(angle) * side * 0.0085 + side * 0.003
    total = np.zeros((side, side), np.float32)
    for reach, spread, strength in ((1.0, 0.012, 0.32), (2.6, 0.035, 0.28)):
        moved = half.transform(half.size, Image.Transform.AFFINE, (1, 0, -dx * reach, 0, 1, -dy * reach))
        soft = moved.filter(ImageFilter.GaussianBlur(spread * side / 2)).resize((side, side), Image.Resampling.BILINEAR)
        total = np.maximum(total, np.asarray(soft, np.float32) / 255 * strength)
    return total


def _develop(picture: Image.Image, view: View, rng: random.Random) -> Image.Image:
    """Exposure, colour temperature, lens and sensor."""
    if view.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(view.blur * picture.width))
    pixels = np.asarray(picture, np.float32)
    gain = np.array([1 + view.warmth, 1 + 0.15 * view.warmth, 1 - view.warmth], np.float32) * view.exposure
    pixels = pixels * gain
    if view.noise:
        grain = noise_of(rng.getrandbits(63)).normal(0, view.noise, pixels.shape[:2]).astype(np.float32)
        fall = np.linspace(-1, 1, picture.width, dtype=np.float32) ** 2
        pixels = (pixels + grain[..., None]) * (1 - 0.07 * (fall[:, None] + fall[None, :]))[..., None]
    return _to_image(pixels)
