"""What stands behind and under a product: studio, plain, wood, cloth, stone, a room.

Every backdrop is a float32 array `(side, side, 3)`, sRGB 0 to 255.
"""

from __future__ import annotations

import colorsys
import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from catalog.demo.palette import Rgb
from catalog.demo.seeds import noise_of
from catalog.demo.textures import scaled, smooth_noise

STUDIO = ("studio", "plain", "gradient")
SCENES = ("wood", "cloth", "stone", "room", "carpet", "bed")
WOODS: tuple[Rgb, ...] = ((176, 128, 84), (120, 80, 52), (206, 174, 134), (84, 62, 48), (150, 140, 128))


def _soft_colour(rng: random.Random, low: float = 0.06, high: float = 0.36) -> Rgb:
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(low, high), rng.uniform(0.55, 0.95))
    return int(r * 255), int(g * 255), int(b * 255)


def _wood(rng: random.Random, side: int) -> np.ndarray:
    noise = noise_of(rng.getrandbits(63))
    colour = np.array(rng.choice(WOODS), np.float32)
    planks = rng.choice((3, 4, 5, 6))
    y = np.arange(side, dtype=np.float32)[:, None] / side
    plank = np.floor(y * planks).astype(int)[:, 0]
    tone = noise.uniform(0.86, 1.1, planks + 1)[plank][:, None]
    light = tone * (1 + 0.12 * smooth_noise(noise, side, 4, 70) + 0.05 * smooth_noise(noise, side, 12, 160))
    light = np.where((y * planks) % 1 < 0.03, light * 0.55, light)
    sheet = light[..., None] * colour
    return sheet.transpose(1, 0, 2) if rng.random() < 0.35 else sheet


def _cloth(rng: random.Random, side: int) -> np.ndarray:
    noise = noise_of(rng.getrandbits(63))
    light = 1 + 0.16 * smooth_noise(noise, side, 5, 3) + 0.08 * smooth_noise(noise, side, 9, 9)
    light = light + 0.06 * smooth_noise(noise, side, side // 2, side // 2)
    sheet = light[..., None] * np.array(_soft_colour(rng), np.float32)
    if rng.random() < 0.3:
        step = rng.uniform(0.08, 0.16)
        x = np.arange(side, dtype=np.float32)[None, :] / side
        sheet = np.where(((x % step) < step * 0.35)[..., None], sheet * 0.8, sheet)
    return sheet


def _stone(rng: random.Random, side: int) -> np.ndarray:
    noise = noise_of(rng.getrandbits(63))
    tone = rng.uniform(120, 225)
    vein = np.abs(smooth_noise(noise, side, 5, 5) + 0.4 * smooth_noise(noise, side, 14, 14))
    light = tone * (
        1 + 0.08 * smooth_noise(noise, side, 12, 12) + 0.05 * smooth_noise(noise, side, side // 2, side // 2)
    )
    if rng.random() < 0.6:
        light = light * (0.82 + 0.18 * np.clip(vein * 12, 0, 1))
    return light[..., None] * np.array([1.0, 0.985, 0.96], np.float32)


def _carpet(rng: random.Random, side: int) -> np.ndarray:
    image = Image.new("RGB", (side, side), _soft_colour(rng, 0.15, 0.45))
    pen = ImageDraw.Draw(image)
    step, second = side / rng.randint(4, 8), _soft_colour(rng)
    for i in range(10):
        for j in range(10):
            x, y, r = (i + (j % 2) / 2) * step, j * step, step * 0.3
            pen.polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], fill=second)
    pile = 1 + 0.14 * smooth_noise(noise_of(rng.getrandbits(63)), side, side // 2, side // 2)
    return np.asarray(image, np.float32) * pile[..., None]


def _room(rng: random.Random, side: int) -> np.ndarray:
    wall = _soft_colour(rng, 0.05, 0.3)
    image = Image.new("RGB", (side, side), wall)
    pen = ImageDraw.Draw(image)
    line = rng.uniform(0.56, 0.72) * side
    for _ in range(rng.randint(1, 3)):
        x, y = rng.uniform(-0.1, 0.8) * side, rng.uniform(0.02, 0.3) * side
        w, h = rng.uniform(0.12, 0.3) * side, rng.uniform(0.15, 0.35) * side
        kind = rng.random()
        if kind < 0.4:
            pen.rectangle([x, y, x + w, y + h], fill=(232, 240, 248), outline=(250, 250, 250), width=max(1, side // 50))
            pen.line([x + w / 2, y, x + w / 2, y + h], fill=(250, 250, 250), width=max(1, side // 60))
        elif kind < 0.75:
            pen.rectangle(
                [x, y, x + w, y + h], fill=_soft_colour(rng), outline=scaled(wall, 0.5), width=max(1, side // 70)
            )
            pen.ellipse([x + w * 0.25, y + h * 0.25, x + w * 0.75, y + h * 0.7], fill=_soft_colour(rng))
        else:
            pen.rectangle([x, y + h, x + w * 1.5, y + h + side * 0.02], fill=rng.choice(WOODS))
            for k in range(5):
                top = y + h - rng.uniform(0.06, 0.14) * side
                pen.rectangle(
                    [x + k * w * 0.25, top, x + (k + 0.8) * w * 0.25, y + h], fill=_soft_colour(rng, 0.2, 0.7)
                )
    soft = image.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.008, 0.025)))
    scene = np.array(soft, np.float32)
    floor = _wood(rng, side) if rng.random() < 0.6 else _cloth(rng, side)
    cut = int(line)
    scene[cut:] = floor[cut:]
    scene[cut : cut + max(1, side // 80)] *= 0.7
    return scene


def backdrop(kind: str, rng: random.Random, side: int) -> np.ndarray:
    """Paint a backdrop of `kind` (one of STUDIO or SCENES), `(side, side, 3)` float32."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    if kind == "studio":
        glow = 250 - 16 * np.clip((y - 0.62) * 2.2, 0, 1) - 9 * ((x - 0.5) ** 2 + (y - 0.45) ** 2)
        return glow[..., None] * np.array([1.0, 1.0, rng.uniform(0.985, 1.0)], np.float32)
    if kind == "plain":
        sheet = np.empty((side, side, 3), np.float32)
        sheet[:] = _soft_colour(rng, 0.05, 0.4)
        return sheet * (1.03 - 0.1 * np.clip((y - 0.66) * 6, 0, 1))[..., None]
    if kind == "gradient":
        first, second = (np.array(_soft_colour(rng), np.float32) for _ in range(2))
        angle = rng.uniform(0, 2 * math.pi)
        t = np.clip(0.5 + (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle), 0, 1)[..., None]
        return first * (1 - t) + second * t
    makers = {"wood": _wood, "cloth": _cloth, "stone": _stone, "room": _room, "carpet": _carpet, "bed": _cloth}
    return makers[kind](rng, side)
