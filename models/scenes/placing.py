"""Where things go: sizes, poses and places of the product and of what lies about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from models.scenes.config import SceneConfig
from models.scenes.fields import chance
from models.scenes.geometry import Pose, Warp, plan_warp, render
from models.scenes.layers import Kind, Layer
from models.scenes.segmentation import Side

_ASPECTS = ((3, 4), (3, 4), (3, 4), (9, 16), (4, 3), (1, 1), (2, 3), (4, 5))
_LOW, _HIGH = 0.25, 0.8
"""Shares of the picture between which a product that fills it lies."""
_MIN_CUT_SHARE = 0.2
"""A person cut at the waist, tiny at the lower edge, is no photograph."""


@dataclass(frozen=True)
class Thing:
    """A product ready to be placed."""

    image: Image.Image
    """RGBA."""
    name: str
    cut_sides: tuple[Side, ...] = ()
    is_garment: bool = False
    """Hangs on a hanger."""
    is_top: bool = False
    """Worn on the upper body: a figure fits it."""
    paired: bool = False
    """Sold by the pair: shoes, gloves, earrings."""
    group: str | None = None
    """Article of a cut-out; a drawn product has none."""


@dataclass(frozen=True)
class Placement:
    """A thing with its pose, scale and place."""

    thing: Thing
    pose: Pose
    warp: Warp
    scale: float
    centre: tuple[float, float]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Its extent in pixels, not cut by the frame."""
        x0, y0, x1, y1 = self.warp.extent
        cx, cy = self.centre
        return cx + x0 * self.scale, cy + y0 * self.scale, cx + x1 * self.scale, cy + y1 * self.scale


def scene_size(rng: np.random.Generator, side_px: int, studio: bool) -> tuple[int, int]:
    """Width and height: portrait more often than not, as phones are held; shops like squares."""
    w, h = (1, 1) if studio and chance(rng, 0.4) else _ASPECTS[rng.integers(len(_ASPECTS))]
    scale = side_px / max(w, h)
    return round(w * scale), round(h * scale)


def product_share(rng: np.random.Generator, cfg: SceneConfig) -> float:
    """Share of the picture that the product's box shall have."""
    if chance(rng, cfg.large_frac):
        share = rng.uniform(_LOW, _HIGH)
    elif chance(rng, 0.25):
        share = rng.uniform(_HIGH, 1.0)
    else:
        share = math.exp(rng.uniform(math.log(cfg.min_area_frac), math.log(_LOW)))
    return float(np.clip(share, cfg.min_area_frac, cfg.max_area_frac))


def make_pose(rng: np.random.Generator, thing: Thing, calm: bool) -> Pose:
    """Upright mostly, lying any way sometimes.

    Args:
        rng: Its source.
        thing: One that its photograph cuts stays upright, since its cut side must leave the picture.
        calm: Hung, worn or in a studio.
    """
    if thing.cut_sides or calm:
        turn = float(np.clip(rng.normal(0, 2.5), -6, 6))
    else:
        draw = rng.random()
        turn = rng.normal(0, 6) if draw < 0.6 else rng.uniform(-35, 35) if draw < 0.85 else rng.uniform(-180, 180)
    return Pose(
        rotation_deg=float(turn),
        mirrored=False if thing.cut_sides else chance(rng, 0.5),
        tilt=0.02 if calm else float(rng.uniform(0, 0.1)),
        bend=float(rng.uniform(0, 0.015)) if calm else float(rng.choice((0.0, rng.uniform(0, 0.06)))),
        aspect=float(np.exp(rng.normal(0, 0.06 if calm else 0.12))),
        seed=int(rng.integers(2**31)),
    )


def place(
    rng: np.random.Generator,
    thing: Thing,
    pose: Pose,
    share: float,
    size_px: tuple[int, int],
    *,
    spread: float = 0.45,
    crop: bool = False,
) -> Placement:
    """Put the product near the middle at a share of the picture's area; cut sides leave the frame.

    Args:
        rng: Its source.
        thing: What to place.
        pose: How it lies.
        share: Of the picture's area that its box has; less where it would not fit.
        size_px: Width and height of the picture.
        spread: How far from the middle, standard deviation as a share of the free room.
        crop: Let the frame cut a part of it.
    """
    warp = plan_warp(thing.image, pose)
    x0, y0, x1, y1 = warp.extent
    w, h = x1 - x0, y1 - y0
    width, height = size_px
    if thing.cut_sides:
        share = max(share, _MIN_CUT_SHARE)
    scale = math.sqrt(share * width * height / (w * h))
    room = 1.25 if crop else rng.uniform(0.9, 1.0)
    scale = min(scale, room * width / w, room * height / h)
    if "left" in thing.cut_sides and "right" in thing.cut_sides:
        scale = 1.04 * width / w
    elif "top" in thing.cut_sides and "bottom" in thing.cut_sides:
        scale = 1.04 * height / h
    w, h = w * scale, h * scale
    slack_x, slack_y = (width - w) / 2, (height - h) / 2
    cx = width / 2 + _offset(rng, slack_x, spread, crop, w)
    cy = height / 2 + _offset(rng, slack_y, spread, crop, h)
    centre = (cx - (x0 + x1) / 2 * scale, cy - (y0 + y1) / 2 * scale)
    return pushed_out(Placement(thing, pose, warp, scale, centre), size_px)


def _offset(rng: np.random.Generator, slack: float, spread: float, crop: bool, length: float) -> float:
    """Displacement from the middle: anywhere inside, most often half way at most; beyond the frame when cut."""
    if crop:
        reach = max(slack, 0) + rng.uniform(0.0, 0.25) * length
        return float(rng.choice((-1, 1)) * reach) if chance(rng, 0.5) else float(rng.uniform(-1, 1) * max(slack, 0))
    return float(np.clip(rng.normal(0, spread), -1, 1)) * max(slack, 0.0)


def pushed_out(placed: Placement, size_px: tuple[int, int]) -> Placement:
    """Move a product so that the sides on which its photograph cut it lie on or outside the frame."""
    x0, y0, x1, y1 = placed.box
    width, height = size_px
    # The edge must be outside as a whole, however it is turned, pulled and bent.
    lean = abs(math.sin(math.radians(placed.pose.rotation_deg)))
    bend = placed.pose.bend * max(placed.thing.image.size) * placed.scale
    drift_x = lean * (y1 - y0) + placed.pose.tilt * (x1 - x0) + bend + 2
    drift_y = lean * (x1 - x0) + placed.pose.tilt * (y1 - y0) + bend + 2
    dx = dy = 0.0
    sides = placed.thing.cut_sides
    if "left" in sides and "right" not in sides:
        dx = min(0.0, -drift_x - x0)
    if "right" in sides and "left" not in sides:
        dx = max(0.0, width + drift_x - x1)
    if "top" in sides and "bottom" not in sides:
        dy = min(0.0, -drift_y - y0)
    if "bottom" in sides and "top" not in sides:
        dy = max(0.0, height + drift_y - y1)
    return replace(placed, centre=(placed.centre[0] + dx, placed.centre[1] + dy))


def place_beside(
    rng: np.random.Generator, thing: Thing, core: Placement, size_px: tuple[int, int], rival: bool
) -> Placement:
    """Put another product where the core is not: smaller, or cut by the frame.

    Args:
        rng: Its source.
        thing: What to place.
        core: The product that the picture is of.
        size_px: Width and height of the picture.
        rival: Comparable in size, so off the middle and often cut by the frame.
    """
    width, height = size_px
    a0, b0, a1, b1 = core.box
    core_area = (min(a1, width) - max(a0, 0)) * (min(b1, height) - max(b0, 0))
    pose = make_pose(rng, thing, calm=False)
    warp = plan_warp(thing.image, pose)
    x0, y0, x1, y1 = warp.extent
    share = rng.uniform(0.6, 1.0) if rival else math.exp(rng.uniform(math.log(0.06), math.log(0.5)))
    scale = math.sqrt(share * core_area / ((x1 - x0) * (y1 - y0)))
    w, h = (x1 - x0) * scale, (y1 - y0) * scale
    best, best_overlap = (0.0, 0.0), math.inf
    for _ in range(8):
        turn = rng.uniform(0, 2 * math.pi)
        reach = rng.uniform(0.75, 1.05)
        cx = width / 2 + math.cos(turn) * reach * (width / 2 - (0.0 if rival else 0.3 * min(w, width)))
        cy = height / 2 + math.sin(turn) * reach * (height / 2 - (0.0 if rival else 0.3 * min(h, height)))
        across = max(0.0, min(a1, cx + w / 2) - max(a0, cx - w / 2))
        down = max(0.0, min(b1, cy + h / 2) - max(b0, cy - h / 2))
        if across * down < best_overlap:
            best, best_overlap = (cx, cy), across * down
    centre = (best[0] - (x0 + x1) / 2 * scale, best[1] - (y0 + y1) / 2 * scale)
    return pushed_out(Placement(thing, pose, warp, scale, centre), size_px)


def draw(placed: Placement, size_px: tuple[int, int], kind: Kind, shadow: float) -> Layer | None:
    """The placed product as a layer; None where it lies outside the picture."""
    found = render(placed.thing.image, placed.warp, placed.pose, placed.scale, placed.centre, size_px)
    if found is None:
        return None
    image, (left, top) = found
    return Layer(image, left, top, kind, placed.thing.name, shadow)
