"""Floors and sheets: what a product lies on when photographed at home.

Each is a function of plane coordinates u, v (in picture heights, turned and in perspective), so that planks and tiles
run in any direction and grow smaller with distance. Legend: H, W; a ground is (H, W, 3) float32, sRGB 0 to 255.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from models.scenes.fields import Rgb, chance, colour, folds, near, noise, quiet

_WOODS: tuple[Rgb, ...] = (
    (176, 128, 84),
    (120, 80, 52),
    (206, 174, 134),
    (84, 62, 48),
    (150, 140, 128),
    (196, 188, 178),
    (222, 184, 140),
    (110, 60, 36),
    (98, 92, 88),
)
_CARPETS: tuple[Rgb, ...] = ((178, 168, 152), (150, 146, 142), (120, 100, 84), (200, 194, 184), (92, 96, 108))


def plane(rng: np.random.Generator, height: int, width: int, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a floor's plane under every pixel: two (H, W) float32.

    Args:
        rng: Its source.
        height: H.
        width: W.
        depth: How far the top edge is away: 0 seen straight from above.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y = y / height - 0.5
    x = (x - width / 2) / height
    away = 1.0 + depth * y
    x, y = x / away, y / away
    turn = (
        rng.choice((0.0, 0.0, math.pi / 2, math.pi / 4)) + rng.normal(0, 0.12)
        if chance(rng, 0.7)
        else rng.uniform(0, 3.2)
    )
    c, s = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    shift = rng.uniform(0, 40, 2).astype(np.float32)
    return c * x + s * y + shift[0], c * y - s * x + shift[1]


def _look_up(table: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values of a table that repeats, at the cells of u, v."""
    rows, columns = np.floor(v).astype(np.int32) % table.shape[0], np.floor(u).astype(np.int32) % table.shape[1]
    return np.asarray(table[rows, columns])


def _grain(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, along: float, across: float) -> np.ndarray:
    """Wood grain along u."""
    table = noise(rng, 256, 256, 128) + 0.5 * noise(rng, 256, 256, 30)
    return _look_up(table, u * along, v * across)


def planks(rng: np.random.Generator, height: int, width: int, bold: bool) -> np.ndarray:
    """Boards, laminate, or a basket of parquet blocks."""
    u, v = plane(rng, height, width, rng.uniform(0, 0.7))
    breadth = rng.uniform(0.07, 0.3)
    length = breadth * rng.uniform(3, 9)
    if chance(rng, 0.3):
        block = breadth * rng.choice((3.0, 4.0, 5.0))
        odd = (np.floor(u / block) + np.floor(v / block)) % 2 > 0
        u, v = np.where(odd, v, u), np.where(odd, u, v)
        length = block
    row = np.floor(v / breadth)
    stagger = rng.uniform(0, 1, 64).astype(np.float32)[row.astype(np.int32) % 64]
    along = u / length + stagger
    tone = _look_up(rng.normal(0, 1, (61, 67)).astype(np.float32), along, row)
    base = np.array(near(rng, _WOODS[rng.integers(len(_WOODS))], 10), np.float32)
    light = 1 + (0.16 if bold else 0.07) * tone
    light = light + rng.uniform(0.03, 0.16) * _grain(rng, u + 7 * tone, v, rng.uniform(8, 25), rng.uniform(90, 260))
    gap = rng.uniform(0.01, 0.05)
    seam = ((v / breadth) % 1 < gap) | (along % 1 < gap * breadth / length)
    light = np.where(seam, light * rng.uniform(0.5, 0.85), light)
    return np.asarray(light[..., None] * base)


def tiles(rng: np.random.Generator, height: int, width: int, bold: bool) -> np.ndarray:
    """Tiles with grout lines, plain or of two colours, some marbled."""
    u, v = plane(rng, height, width, rng.uniform(0, 0.6))
    size = rng.uniform(0.14, 0.6)
    base = np.array(colour(rng) if bold else quiet(rng, 0.5), np.float32)
    tone = _look_up(rng.normal(0, 1, (61, 67)).astype(np.float32), u / size, v / size)
    light = 1 + 0.03 * tone + rng.uniform(0, 0.06) * noise(rng, height, width, 12)
    if chance(rng, 0.4):
        light = light - 0.12 * np.exp(-((_look_up(noise(rng, 256, 256, 12), u * 130, v * 130) / 0.06) ** 2))
    sheet = light[..., None] * base
    if bold or chance(rng, 0.15):
        other = np.array(colour(rng), np.float32)
        odd = (np.floor(u / size) + np.floor(v / size)) % 2 > 0
        if chance(rng, 0.4):
            odd = np.abs(((u / size) % 1) - 0.5) + np.abs(((v / size) % 1) - 0.5) < rng.uniform(0.2, 0.45)
        sheet = np.where(odd[..., None], other * light[..., None], sheet)
    gap = rng.uniform(0.012, 0.045)
    grout = ((u / size) % 1 < gap) | ((v / size) % 1 < gap)
    line = np.array(near(rng, base * rng.choice((0.5, 0.75, 1.15)), 6), np.float32)
    return np.asarray(np.where(grout[..., None], line, sheet))


def carpet(rng: np.random.Generator, height: int, width: int, bold: bool) -> np.ndarray:
    """Pile: fine and lumpy, plain or patterned."""
    base = near(rng, _CARPETS[rng.integers(len(_CARPETS))], 14) if not bold else colour(rng)
    sheet = (
        figured(rng, height, width, base) if bold else np.broadcast_to(np.array(base, np.float32), (height, width, 3))
    )
    pile = rng.uniform(0.05, 0.3) * noise(rng, height, width, rng.uniform(70, 320))
    lumps = rng.uniform(0.0, 0.2) * noise(rng, height, width, rng.uniform(20, 60))
    return np.asarray(sheet * (1 + pile + lumps)[..., None])


def cloth(rng: np.random.Generator, height: int, width: int, bold: bool) -> np.ndarray:
    """A bedspread, a sheet or a curtain: folds, quilting, patterns; often white, grey, red or blue."""
    base = quiet(rng) if chance(rng, 0.65) else colour(rng, 0.2, 0.95, 0.6)
    sheet = np.broadcast_to(np.array(base, np.float32), (height, width, 3))
    if bold or chance(rng, 0.2):
        sheet = figured(rng, height, width, base)
    light = folds(rng, height, width, rng.uniform(0.2, 1.0))
    if chance(rng, 0.25):
        u, v = plane(rng, height, width, rng.uniform(0, 0.4))
        step = rng.uniform(0.06, 0.2)
        puff = np.abs(np.sin(np.pi * u / step) * np.sin(np.pi * v / step)) ** 0.5
        light = (1 + 0.35 * (light - 1)) * (0.82 + 0.2 * puff)
    weave = 0.04 * noise(rng, height, width, max(height, width))
    return np.asarray(sheet * (light + weave)[..., None])


def figured(rng: np.random.Generator, height: int, width: int, base: Rgb) -> np.ndarray:
    """A pattern in two or three colours, whichever way it runs."""
    u, v = plane(rng, height, width, rng.uniform(0, 0.4))
    step = rng.uniform(0.05, 0.3)
    over, third = np.array(colour(rng), np.float32), np.array(colour(rng), np.float32)
    kind = rng.integers(7)
    a, b = (u / step) % 1, (v / step) % 1
    if kind == 0:
        mask = a < rng.uniform(0.2, 0.6)
    elif kind == 1:
        mask = (a < 0.4).astype(np.float32) * 0.5 + (b < 0.4) * 0.5
    elif kind == 2:
        mask = (a - 0.5) ** 2 + (b - 0.5) ** 2 < rng.uniform(0.03, 0.16)
    elif kind == 3:
        mask = ((v + np.abs(((u / step) % 1) - 0.5) * step) / step) % 1 < 0.45
    elif kind == 4:
        mask = np.abs(a - 0.5) + np.abs(b - 0.5) < rng.uniform(0.25, 0.48)
    elif kind == 5:
        field = noise(rng, height, width, rng.uniform(5, 26))
        mask = np.abs(field) < rng.uniform(0.08, 0.3)
    else:
        field = noise(rng, height, width, rng.uniform(6, 20))
        mask = field > rng.uniform(-0.1, 0.3)
    weight = np.asarray(mask, np.float32)[..., None]
    sheet = np.array(base, np.float32) * (1 - weight) + over * weight
    if chance(rng, 0.4):
        second = (noise(rng, height, width, rng.uniform(8, 30)) > 0.4).astype(np.float32)[..., None]
        sheet = sheet * (1 - second) + third * second
    return np.asarray(sheet)


def grass(rng: np.random.Generator, height: int, width: int, bold: bool) -> np.ndarray:
    """Grass, moss or leaves: short strokes."""
    base = np.array(near(rng, (92, 120, 58), 18), np.float32)
    blades = noise(rng, height, width, max(height, width), 1.0) * 0.3
    tufts = noise(rng, height, width, 60, 0.35) * 0.35 + noise(rng, height, width, 12) * 0.2
    light = 1 + (1.2 if bold else 0.8) * (blades + tufts)
    tint = 1 + 0.15 * noise(rng, height, width, 20)[..., None] * np.array([1.0, 0.0, -0.5], np.float32)
    return np.asarray(light[..., None] * base * tint)


def concrete(rng: np.random.Generator, height: int, width: int, bold: bool) -> np.ndarray:
    """Concrete, asphalt, stone or terrazzo."""
    base = np.array(near(rng, np.full(3, rng.uniform(80, 210)), 5), np.float32)
    light = 1 + 0.1 * noise(rng, height, width, 6) + 0.07 * noise(rng, height, width, 40)
    light = light + rng.uniform(0.02, 0.16) * noise(rng, height, width, max(height, width))
    sheet = light[..., None] * base
    if bold:
        chips = noise(rng, height, width, rng.uniform(40, 90))
        for level in (0.75, 0.95):
            sheet = np.where((chips > level)[..., None], np.array(colour(rng), np.float32), sheet)
    return np.asarray(sheet)


def rug_on_floor(rng: np.random.Generator, height: int, width: int, bold: bool) -> np.ndarray:
    """A floor with a smaller carpet or cloth on it, cut by the picture's edge more often than not."""
    floor = (planks if chance(rng, 0.6) else tiles)(rng, height, width, False)
    rug = (carpet if chance(rng, 0.6) else cloth)(rng, height, width, bold)
    mask = Image.new("L", (width, height))
    cx, cy = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height
    a, b = rng.uniform(0.35, 0.8, 2) * max(height, width)
    turn = rng.normal(0, 0.4)
    c, s = math.cos(turn), math.sin(turn)
    corners = [(cx + c * x - s * y, cy + s * x + c * y) for x, y in ((-a, -b), (a, -b), (a, b), (-a, b))]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    weight = (np.asarray(mask, np.float32) / 255)[..., None]
    return np.asarray(floor * (1 - weight) + rug * weight)


Ground = Callable[[np.random.Generator, int, int, bool], np.ndarray]

FLOORS: tuple[tuple[Ground, float], ...] = (
    (planks, 3.0),
    (tiles, 2.0),
    (carpet, 2.0),
    (cloth, 3.5),
    (grass, 0.3),
    (concrete, 0.7),
    (rug_on_floor, 1.2),
)
"""Grounds to lie on and how often, relative to each other."""
