"""Put a cut-out into a picture: turned, mirrored, in perspective, bent like cloth, in one resampling.

Legend: h, w of the window that the product covers; points are (N, 2) x, y in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.scenes.fields import noise

_CELLS = 10
"""Cells of the mesh along each side; within a cell the warp is bilinear."""


@dataclass(frozen=True)
class Pose:
    """How a product lies. Lengths are shares of its longer side."""

    rotation_deg: float = 0.0
    mirrored: bool = False
    tilt: float = 0.0
    """How far the corners are pulled, at random: a mild perspective."""
    bend: float = 0.0
    """How far cloth strays from its straight form."""
    aspect: float = 1.0
    """Width over height, times that of the cut-out."""
    seed: int = 0
    """Of the tilt and the bend."""


@dataclass(frozen=True)
class Warp:
    """A pose worked out for one cut-out at scale 1."""

    forward: np.ndarray
    """(3, 3): pixels of the cut-out to pixels round the origin, at scale 1."""
    extent: tuple[float, float, float, float]
    """x0, y0, x1, y1 of what is not transparent, before it bends."""


def plan_warp(image: Image.Image, pose: Pose) -> Warp:
    """Where a cut-out goes, its middle at the origin.

    Args:
        image: RGBA; a wholly transparent one counts as opaque.
        pose: How it lies.
    """
    w, h = image.size
    rng = np.random.default_rng(pose.seed)
    turn = math.radians(pose.rotation_deg)
    c, s = math.cos(turn), math.sin(turn)
    pull = rng.uniform(-pose.tilt, pose.tilt, (4, 2)) if pose.tilt else np.zeros((4, 2))
    unit = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=np.float64)
    stretch = math.sqrt(pose.aspect)
    flat = unit * (1 + pull) * np.array([w / 2 * stretch, h / 2 / stretch])
    if pose.mirrored:
        flat = flat * np.array([-1, 1])
    corners = flat @ np.array([[c, s], [-s, c]])
    source = np.array([(0, 0), (w, 0), (w, h), (0, h)], dtype=np.float64)
    forward = homography(source, corners)
    seen = _rim(np.asarray(image.getchannel("A")) > 0)
    rim = seen if len(seen) else source
    moved = np.column_stack([rim, np.ones(len(rim))]) @ forward.T
    moved = moved[:, :2] / moved[:, 2:]
    low, high = moved.min(axis=0), moved.max(axis=0)
    return Warp(forward, (float(low[0]), float(low[1]), float(high[0]), float(high[1])))


def _rim(mask: np.ndarray) -> np.ndarray:
    """Corners of the first and last pixel of every row that has any: (N, 2) x, y. Their hull is the mask's."""
    rows = np.flatnonzero(mask.any(axis=1))
    left, right = mask[rows].argmax(axis=1), mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([x, y], axis=-1) for x in (left, right) for y in (rows, rows + 1)]).astype(float)


def homography(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (3, 3) matrix that takes four points to four others."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(right)), 1.0).reshape(3, 3)


def render(
    image: Image.Image, warp: Warp, pose: Pose, scale: float, centre: tuple[float, float], size_px: tuple[int, int]
) -> tuple[Image.Image, tuple[int, int]] | None:
    """Draw the cut-out into the part of a picture that it covers.

    Args:
        image: RGBA.
        warp: `plan_warp` of it and `pose`.
        pose: The same.
        scale: Picture pixels per pixel of the cut-out.
        centre: Where the cut-out's middle goes, pixels of the picture.
        size_px: Width and height of the picture.

    Returns:
        An RGBA window and its upper left corner in the picture; None where nothing falls inside.
    """
    x0, y0, x1, y1 = warp.extent
    margin = pose.bend * max(image.size) * scale + 1
    left = max(0, math.floor(centre[0] + x0 * scale - margin))
    top = max(0, math.floor(centre[1] + y0 * scale - margin))
    right = min(size_px[0], math.ceil(centre[0] + x1 * scale + margin))
    bottom = min(size_px[1], math.ceil(centre[1] + y1 * scale + margin))
    if right - left < 2 or bottom - top < 2:
        return None
    source = image
    factor = 1.0
    if scale < 0.67:
        # Sampling every other pixel would alias.
        step = max(1, round(1 / scale))
        if step > 1 and min(image.size) >= 2 * step:
            source = image.convert("RGBa").reduce(step).convert("RGBA")
            factor = source.width / image.width
    inverse = np.linalg.inv(warp.forward)
    window = (right - left, bottom - top)
    grid_x = np.unique(np.linspace(0, window[0], _CELLS + 1).round().astype(int))
    grid_y = np.unique(np.linspace(0, window[1], _CELLS + 1).round().astype(int))
    gx, gy = np.meshgrid(grid_x, grid_y)
    plane = np.stack([(gx + left - centre[0]) / scale, (gy + top - centre[1]) / scale, np.ones_like(gx)], axis=-1)
    back = plane @ inverse.T
    points = back[..., :2] / back[..., 2:]
    if pose.bend:
        points = points + _bend(pose, points, image.size)
    points = points * factor
    mesh = []
    for row in range(len(grid_y) - 1):
        for column in range(len(grid_x) - 1):
            box = (int(grid_x[column]), int(grid_y[row]), int(grid_x[column + 1]), int(grid_y[row + 1]))
            quad = (
                *points[row, column],
                *points[row + 1, column],
                *points[row + 1, column + 1],
                *points[row, column + 1],
            )
            mesh.append((box, tuple(float(value) for value in quad)))
    drawn = source.transform(window, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    return drawn, (left, top)


def _bend(pose: Pose, points: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Smooth displacement of the cut-out's points, in its own pixels: the same wherever the product is put."""
    rng = np.random.default_rng(pose.seed + 1)
    fields = [noise(rng, 33, 33, rng.uniform(2, 5)) for _ in range(2)]
    w, h = size_px
    column = np.clip(np.rint((points[..., 0] / w * 0.5 + 0.25) * 32), 0, 32).astype(int)
    row = np.clip(np.rint((points[..., 1] / h * 0.5 + 0.25) * 32), 0, 32).astype(int)
    reach = pose.bend * max(size_px)
    return np.asarray(np.stack([np.clip(field[row, column], -1, 1) * reach for field in fields], axis=-1))
