"""Drawn products: garments, shoes and smooth shapes from a few numbers, filled with cloth.

They are no shop's products: they teach what an object is where a catalogue has few forms. Outlines are half outlines
in units of the drawing's height, mirrored about the middle where the garment is symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.scenes.fabric import fabric, print_on
from models.scenes.fields import chance, colour, folds, to_image

_SIDE_PX = 288
_SUPERSAMPLING = 2

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Drawn:
    """A drawn product."""

    image: Image.Image
    """RGBA, cropped."""
    kind: str
    is_garment: bool
    is_top: bool
    """Worn on the upper body."""


@dataclass(frozen=True)
class _Pattern:
    outline: Points
    """The right half, from the top at the middle down to the middle, or all of it."""
    halved: bool = True
    dark: tuple[Points, ...] = ()
    """Openings into which one looks: a neck, a waist."""
    seams: tuple[Points, ...] = ()
    is_top: bool = False
    corners: bool = True
    """Keep corners sharp: hems; else the outline is rounded."""


def _top(rng: np.random.Generator, sleeve: float, length: float, flare: float = 0.0) -> _Pattern:
    """A shirt, jacket or dress: `sleeve` from none to wrist, 0 to 1, and `length` of the body."""
    neck, shoulder = rng.uniform(0.07, 0.13), rng.uniform(0.22, 0.3)
    drop, dip = rng.uniform(0.03, 0.08), rng.uniform(0.03, 0.14)
    chest = shoulder * rng.uniform(0.92, 1.08)
    waist, hem = chest * rng.uniform(0.82, 1.02), chest * rng.uniform(0.9, 1.1) + flare
    angle = rng.uniform(0.35, 1.35)
    reach = sleeve * rng.uniform(0.5, 0.62)
    width = rng.uniform(0.1, 0.17)
    dx, dy = math.cos(angle), math.sin(angle)
    points: Points = [(0, dip), (neck * 0.7, dip * 0.6), (neck, 0), (shoulder, drop)]
    if reach > 0.03:
        tip = (shoulder + dx * reach, drop + dy * reach)
        points += [tip, (tip[0] - dy * width * 0.8, tip[1] + dx * width * 0.8), (chest, drop + 0.2)]
    else:
        points += [(shoulder * 0.93, drop + 0.12), (chest, drop + 0.22)]
    points += [(waist, 0.5 * length + 0.1), (hem, length), (0, length * rng.uniform(0.97, 1.03))]
    dark = ([(neck, 0), (neck * 0.7, dip * 0.6), (0, dip), (-neck * 0.7, dip * 0.6), (-neck, 0), (0, dip * 0.25)],)
    seams: tuple[Points, ...] = ([(shoulder * 0.97, drop), (chest, drop + 0.2)],)
    if chance(rng, 0.4):
        seams += ([(0, dip), (0, length)],)
    return _Pattern(points, dark=tuple(dark), seams=seams, is_top=True)


def _legs(rng: np.random.Generator, length: float) -> _Pattern:
    waist, hip = rng.uniform(0.17, 0.22), rng.uniform(0.2, 0.27)
    crotch = rng.uniform(0.24, 0.32)
    hem = hip * rng.uniform(0.45, 1.0) * (1.2 if length < 0.6 else 0.8)
    out, gap = rng.uniform(0.0, 0.1), rng.uniform(0.005, 0.05)
    middle = out + hip * 0.55
    points: Points = [(0, 0.01), (waist, 0), (hip, crotch * 0.8), (middle + hem / 2, length)]
    points += [(max(middle - hem / 2, gap), length), (gap * 0.3, crotch), (0, crotch * 0.98)]
    belt = rng.uniform(0.025, 0.06)
    seams: tuple[Points, ...] = ([(0, belt), (waist * 1.02, belt)], [(0, belt), (0, crotch)])
    dark = ([(-waist, 0.002), (waist, 0.002), (0, 0.022)],) if chance(rng, 0.5) else ()
    return _Pattern(points, dark=dark, seams=seams)


def _skirt(rng: np.random.Generator) -> _Pattern:
    waist, length = rng.uniform(0.14, 0.24), rng.uniform(0.4, 0.9)
    hem = waist * rng.uniform(1.0, 2.2)
    points: Points = [
        (0, 0),
        (waist, 0.0),
        (waist * 1.15, 0.12),
        (hem, length),
        (hem * 0.5, length * 1.02),
        (0, length),
    ]
    pleats = tuple([(waist * k, 0.05), (hem * k, length)] for k in np.linspace(0.1, 0.9, int(rng.integers(2, 7))))
    return _Pattern(points, seams=([(0, 0.05), (waist, 0.05)], *(pleats if chance(rng, 0.5) else ())))


def _hat(rng: np.random.Generator) -> _Pattern:
    h = rng.uniform(0.4, 0.7)
    if chance(rng, 0.5):
        points: Points = [(0, 0), (0.25, 0.05), (0.36, h * 0.6), (0.38, h), (0, h * 1.03)]
        return _Pattern(points, corners=False, seams=([(0, h * 0.75), (0.38, h * 0.75)],))
    peak = rng.uniform(0.55, 0.75)
    whole: Points = [(-0.35, h), (-0.34, h * 0.4), (-0.15, 0.02), (0.12, 0), (0.3, h * 0.4), (0.34, h * 0.75)]
    whole += [(peak, h * 0.95), (peak * 0.95, h * 1.08), (0.2, h * 1.03)]
    return _Pattern(whole, halved=False, corners=False, seams=([(-0.34, h * 0.8), (0.34, h * 0.75)], [(0, 0), (0, h)]))


def _shoe(rng: np.random.Generator) -> _Pattern:
    heel, shaft, toe = rng.uniform(0.0, 0.2), rng.uniform(0.0, 0.35), rng.uniform(0.12, 0.2)
    whole: Points = [
        (-0.42, -shaft),
        (-0.18, -shaft - 0.02),
        (-0.1, 0.05),
        (0.2, 0.16),
        (0.42, 0.24),
        (0.46, 0.24 + toe),
    ]
    whole += [(0.4, 0.27 + toe), (0.0, 0.27 + toe - heel * 0.6), (-0.25, 0.3), (-0.3, 0.27 + toe), (-0.42, 0.27 + toe)]
    whole += [(-0.45, 0.15)]
    line = 0.2 + toe
    dark = ([(-0.42, -shaft), (-0.18, -shaft - 0.02), (-0.2, 0.03 - shaft), (-0.4, 0.02 - shaft)],)
    return _Pattern(whole, halved=False, corners=False, seams=([(-0.44, line), (0.46, line)],), dark=dark)


def _bag(rng: np.random.Generator) -> _Pattern:
    w, top, h = rng.uniform(0.3, 0.48), rng.uniform(0.6, 1.1), rng.uniform(0.4, 0.8)
    points: Points = [(0, 0), (w * top * 0.9, 0), (w, h * 0.9), (w * 0.92, h), (0, h)]
    return _Pattern(points, seams=([(0, h * 0.35), (w, h * 0.35)],))


def _blob(rng: np.random.Generator) -> _Pattern:
    count = int(rng.integers(5, 12))
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    radii = rng.uniform(0.25, 0.5, count)
    squeeze = rng.uniform(0.4, 1.0)
    whole = [(float(r * math.cos(a)), float(r * squeeze * math.sin(a))) for a, r in zip(angles, radii, strict=True)]
    return _Pattern(whole, halved=False, corners=False)


def _box(rng: np.random.Generator) -> _Pattern:
    w, h, skew = rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.5), rng.uniform(-0.12, 0.12)
    whole: Points = [(-w, -h + skew), (w, -h - skew), (w * rng.uniform(0.8, 1.1), h), (-w * rng.uniform(0.8, 1.1), h)]
    return _Pattern(whole, halved=False, seams=([(-w, -h * 0.4), (w, -h * 0.4)],) if chance(rng, 0.5) else ())


_KINDS: tuple[tuple[str, float, Callable[[np.random.Generator], _Pattern]], ...] = (
    ("t-shirt", 3.0, lambda rng: _top(rng, rng.uniform(0.25, 0.5), rng.uniform(0.75, 1.0))),
    ("long sleeve", 3.0, lambda rng: _top(rng, rng.uniform(0.8, 1.15), rng.uniform(0.7, 1.0))),
    ("sleeveless top", 1.0, lambda rng: _top(rng, 0.0, rng.uniform(0.6, 0.95))),
    ("dress", 2.0, lambda rng: _top(rng, rng.choice((0.0, 0.3, 0.9)), rng.uniform(1.2, 1.8), rng.uniform(0, 0.2))),
    ("trousers", 2.0, lambda rng: _legs(rng, rng.uniform(0.9, 1.15))),
    ("shorts", 1.5, lambda rng: _legs(rng, rng.uniform(0.38, 0.6))),
    ("skirt", 1.5, _skirt),
    ("hat", 1.0, _hat),
    ("shoe", 1.5, _shoe),
    ("bag", 0.7, _bag),
    ("shape", 1.5, _blob),
    ("box", 0.7, _box),
)


_NOT_HUNG = ("hat", "shoe", "bag", "shape", "box")


def draw_product(rng: np.random.Generator) -> Drawn:
    """Draw one product of any kind."""
    weights = np.array([weight for _, weight, _ in _KINDS])
    name, _, make = _KINDS[rng.choice(len(_KINDS), p=weights / weights.sum())]
    pattern = make(rng)
    return Drawn(_paint(rng, pattern), name, name not in _NOT_HUNG, pattern.is_top)


def _paint(rng: np.random.Generator, pattern: _Pattern) -> Image.Image:
    half = pattern.outline
    outline = half + [(-x, y) for x, y in reversed(half)] if pattern.halved else list(half)
    jitter = rng.normal(0, 0.006, (len(outline), 2))
    points = np.array(outline) + jitter
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (_SIDE_PX - 4) / float((high - low).max())
    offset = 2 - low * scale
    w, h = (int(value) for value in np.ceil((high - low) * scale + 4))
    curve = smooth_outline(points, 1 if pattern.corners else 3)

    def pixels(values: np.ndarray | Sequence[tuple[float, float]], factor: int = 1) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in (np.asarray(values) * scale + offset) * factor]

    mask = Image.new("L", (w * _SUPERSAMPLING, h * _SUPERSAMPLING))
    ImageDraw.Draw(mask).polygon(pixels(curve, _SUPERSAMPLING), fill=255)
    alpha = mask.reduce(_SUPERSAMPLING)
    sheet = fabric(rng, h, w)
    light = folds(rng, h, w, rng.uniform(0.2, 1.0))
    # Rounded edges: darker to the rim, on one side more.
    rim = np.asarray(alpha.filter(ImageFilter.GaussianBlur(rng.uniform(2, 7))), np.float32) / 255
    light = light * (1 - rng.uniform(0.15, 0.6) * (1 - np.clip(2 * rim - 1, 0, 1)))
    image = to_image(sheet * light[..., None])
    pen = ImageDraw.Draw(image)
    base = np.median(sheet[::8, ::8].reshape(-1, 3), axis=0)
    dark = tuple(int(value) for value in base * rng.uniform(0.3, 0.75))
    for opening in pattern.dark:
        pen.polygon(pixels(opening), fill=dark)
    ink = tuple(int(min(value, 255)) for value in base * (rng.uniform(0.5, 0.85) if base.mean() > 60 else 1.8))
    for seam in pattern.seams:
        pen.line(pixels(seam), fill=ink, width=int(rng.integers(1, 3)))
        if pattern.halved:
            pen.line(pixels([(-x, y) for x, y in seam]), fill=ink, width=1)
    if pattern.is_top and chance(rng, 0.35):
        # Buttons down the front; a shirt that is closed.
        size = rng.uniform(0.8, 2.2)
        for share in np.arange(0.12, 0.95, rng.uniform(0.09, 0.16)):
            x, y = w / 2, h * share
            pen.ellipse([x - size, y - size, x + size, y + size], fill=ink)
    if chance(rng, 0.25):
        trim = tuple(int(value) for value in colour(rng))
        x, y = w * rng.uniform(0.2, 0.7), h * rng.uniform(0.2, 0.7)
        pen.rectangle([x, y, x + w * rng.uniform(0.06, 0.2), y + h * rng.uniform(0.03, 0.15)], fill=trim, outline=ink)
    image = image.filter(ImageFilter.GaussianBlur(0.5))
    image.putalpha(alpha)
    if chance(rng, 0.2):
        image = print_on(rng, image)
    return image.crop(alpha.getbbox())


def smooth_outline(points: np.ndarray, rounds: int) -> np.ndarray:
    """Cut the corners of a closed outline, (N, 2) to (N * 2 ** rounds, 2).

    Source: Chaikin 1974; a first round that cuts less keeps the hems' corners.
    """
    for _ in range(rounds):
        after = np.roll(points, -1, axis=0)
        share = 0.12 if rounds == 1 else 0.25
        points = np.stack([(1 - share) * points + share * after, share * points + (1 - share) * after], axis=1)
        points = points.reshape(-1, 2)
    return points
