"""Outlines as lists of points in the unit square (x to the right, y downwards)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Point = tuple[float, float]
Outline = list[Point]


def curve(points: Sequence[Point], closed: bool = True, steps: int = 7) -> Outline:
    """A Catmull-Rom spline through `points`.

    Args:
        points: At least three; give one twice for a sharp corner.
        closed: Whether the last point joins the first.
        steps: Points drawn between two given ones.
    """
    p = np.asarray(points, dtype=float)
    n = len(p)
    if closed:
        before, start, end, after = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    else:
        before, start, end = np.vstack([p[:1], p[: n - 2]]), p[: n - 1], p[1:]
        after = np.vstack([p[2:], p[-1:]])
    t = (np.arange(steps) / steps)[None, :, None]
    b, s, e, a = (x[:, None, :] for x in (before, start, end, after))
    out = 0.5 * (2 * s + (e - b) * t + (2 * b - 5 * s + 4 * e - a) * t**2 + (3 * s - b - 3 * e + a) * t**3)
    flat = [(float(x), float(y)) for x, y in out.reshape(-1, 2)]
    return flat if closed else [*flat, (float(p[-1, 0]), float(p[-1, 1]))]


def mirrored(right_half: Sequence[Point], axis: float = 0.5) -> Outline:
    """Close an outline given from top to bottom on its right side by mirroring it at x = `axis`."""
    return [*right_half, *((2 * axis - x, y) for x, y in reversed(right_half))]


def turned_body(half: Sequence[Point]) -> Outline:
    """A turned body from its right profile, top to bottom."""
    return mirrored(curve(half, closed=False))


def flipped(points: Sequence[Point], axis: float = 0.5) -> Outline:
    return [(2 * axis - x, y) for x, y in points]


def ellipse(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> Outline:
    """An ellipse, or the arc of it from `start` to `end` degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 40))
    return [(cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in angles]


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Outline:
    """A rectangle with rounded corners."""
    r = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
    if r <= 0:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    corners = ((x1 - r, y0 + r, 270), (x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180))
    return [
        (cx + r * math.cos(math.radians(a)), cy + r * math.sin(math.radians(a)))
        for cx, cy, first in corners
        for a in (first, first + 30, first + 60, first + 90)
    ]


def band(points: Sequence[Point], width: float, end_width: float | None = None) -> Outline:
    """A strap along `points`, `width` wide at its start and `end_width` at its end."""
    p = np.asarray(points, dtype=float)
    along = np.gradient(p, axis=0)
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / length
    half = np.linspace(width, width if end_width is None else end_width, len(p))[:, None] / 2
    both = np.vstack([p + normal * half, (p - normal * half)[::-1]])
    return [(float(x), float(y)) for x, y in both]


def turned(points: Sequence[Point], degrees: float, centre: Point) -> Outline:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    cx, cy = centre
    return [(cx + c * (x - cx) - s * (y - cy), cy + s * (x - cx) + c * (y - cy)) for x, y in points]


def motif_outlines(name: str, cx: float, cy: float, r: float) -> list[Outline]:
    """The outlines of a printed motif of radius `r`; a later outline is laid over an earlier one."""

    def polar(n: int, radius: float, first: float = -90.0, inner: float = 0.0) -> Outline:
        radii = (radius, inner) if inner else (radius,)
        total = n * len(radii)
        return [
            (
                cx + radii[i % len(radii)] * math.cos(math.radians(first + 360 * i / total)),
                cy + radii[i % len(radii)] * math.sin(math.radians(first + 360 * i / total)),
            )
            for i in range(total)
        ]

    def at(points: Sequence[Point]) -> Outline:
        return [(cx + r * x, cy + r * y) for x, y in points]

    if name == "star":
        return [polar(5, r, inner=0.42 * r)]
    if name == "heart":
        return [curve(at([(0, 0.95), (0, 0.95), (0.9, 0), (0.55, -0.8), (0, -0.4), (-0.55, -0.8), (-0.9, 0)]))]
    if name == "moon":
        outer = ellipse(cx, cy, r, r, 50, 310)
        return [outer + ellipse(cx + 0.42 * r, cy, 0.78 * r, 0.78 * r, 295, 65)]
    if name == "sun":
        return [polar(12, r, inner=0.66 * r)]
    if name == "bolt":
        return [at([(0.25, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.25, 1), (0.6, -0.25), (0.05, -0.25)])]
    if name == "leaf":
        return [curve(at([(0, 1), (0, 1), (0.65, 0.1), (0, -1), (0, -1), (-0.65, 0.1)]))]
    if name == "wave":
        return [
            band([(cx + r * x / 8, cy + dy * r + 0.2 * r * math.sin(x * 0.8)) for x in range(-8, 9)], 0.24 * r)
            for dy in (-0.5, 0.0, 0.5)
        ]
    if name == "mountain":
        return [at([(-1, 0.7), (-0.35, -0.75), (0.05, 0.0), (0.4, -0.4), (1, 0.7)])]
    if name == "cat":
        head = [(-0.8, -0.9), (-0.3, -0.45), (0.3, -0.45), (0.8, -0.9), (0.85, 0.3), (0.4, 0.85), (-0.4, 0.85)]
        return [at([*head, (-0.85, 0.3)])]
    if name == "ring":
        return [ellipse(cx, cy, r, r) + ellipse(cx, cy, 0.55 * r, 0.55 * r, 360, 0)]
    if name == "arrow":
        return [at([(0, -1), (0.8, -0.1), (0.3, -0.1), (0.3, 1), (-0.3, 1), (-0.3, -0.1), (-0.8, -0.1)])]
    petals = [
        ellipse(cx + 0.55 * r * math.cos(a), cy + 0.55 * r * math.sin(a), 0.42 * r, 0.42 * r)
        for a in (math.radians(72 * i - 90) for i in range(5))
    ]
    return petals
