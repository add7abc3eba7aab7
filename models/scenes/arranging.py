"""The layers of a scene: the product with what carries it, what lies about it, and the rule that it stays the core."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from PIL import Image

from catalog import Box
from models.scenes import figures
from models.scenes.config import SceneConfig
from models.scenes.fields import chance
from models.scenes.geometry import Pose, plan_warp
from models.scenes.layers import MASK_LEVEL, Layer, coverage, mask_box, overlay, visible_masks
from models.scenes.placing import Placement, Thing, draw, make_pose, place, place_beside, product_share

Setting = Literal["lying", "hung", "worn", "studio", "whole"]

_MAX_RIVAL = 0.8
"""A distractor shows at most this share of the core's pixels."""
_LARGE_RIVAL = 0.4
"""A distractor with more than this share of the core's pixels must lie further from the middle than the core."""
_FURTHER = 0.12
"""So much further, as a share of half the picture's diagonal."""
_MIN_BOX_PX, _MIN_SEEN = 4, 0.3
"""Sides of a distractor's box, and the share of its pixels inside the frame that nothing may hide."""
_MAX_WORN_SHARE, _MAX_HUNG_SHARE = 0.35, 0.75
_WHOLE_PAIR, _CROPPED_PAIR = 0.85, 1.25
"""Largest extent of a pair, as a share of the frame's; turning one of it takes some room."""


def core_layers(
    rng: np.random.Generator, size_px: tuple[int, int], setting: Setting, thing: Thing, cfg: SceneConfig
) -> list[Layer]:
    """The product, or a pair of it, and behind it its hanger or figure; the lowest first.

    Args:
        rng: Their source.
        size_px: Width and height of the picture.
        setting: How the product is shown.
        thing: The product.
        cfg: Shares and bounds.
    """
    shadow = 0.0 if setting == "whole" else rng.uniform(0.0, 0.25) if setting == "studio" else rng.uniform(0.1, 0.5)
    if setting == "whole":
        return _drawn(_covering(rng, thing, size_px), size_px, 0.0)
    share = product_share(rng, cfg)
    if setting in ("hung", "worn"):
        share = min(share, _MAX_WORN_SHARE if setting == "worn" else _MAX_HUNG_SHARE)
    crop = setting == "lying" and chance(rng, cfg.crop_frac)
    pose = make_pose(rng, thing, setting != "lying")
    placed = place(rng, thing, pose, share, size_px, spread=cfg.spread_frac, crop=crop)
    if setting == "hung":
        room = rng.uniform(0.0, 0.14) * size_px[1]
        placed = replace(placed, centre=(placed.centre[0], placed.centre[1] + max(0.0, room - placed.box[1])))
        behind = figures.hanger(rng, size_px, placed.box, with_bar=not thing.is_top)
        return [*overlay(behind, "hanger", 0.2), *_drawn(placed, size_px, shadow)]
    if setting == "worn":
        behind = figures.figure(rng, size_px, placed.box)
        return [*overlay(behind, "figure", 0.25), *_drawn(placed, size_px, 0.15)]
    if not thing.cut_sides and chance(rng, cfg.pair_frac * (20 if thing.paired else 1)):
        return _pair(rng, size_px, placed, shadow, crop)
    return _drawn(placed, size_px, shadow)


def _drawn(placed: Placement, size_px: tuple[int, int], shadow: float) -> list[Layer]:
    layer = draw(placed, size_px, "product", shadow)
    return [] if layer is None else [layer]


def _covering(rng: np.random.Generator, thing: Thing, size_px: tuple[int, int]) -> Placement:
    """Scaled so far that it covers nearly the whole picture."""
    free = replace(thing, cut_sides=())
    placed = place(rng, free, make_pose(rng, free, True), 1.0, size_px)
    x0, y0, x1, y1 = placed.warp.extent
    scale = max(size_px[0] / (x1 - x0), size_px[1] / (y1 - y0)) * rng.uniform(1.15, 1.9)
    centre = (size_px[0] / 2 - (x0 + x1) / 2 * scale, size_px[1] / 2 - (y0 + y1) / 2 * scale)
    return replace(placed, scale=scale, centre=centre)


def _pair(
    rng: np.random.Generator, size_px: tuple[int, int], placed: Placement, shadow: float, crop: bool
) -> list[Layer]:
    """The same product twice, mirrored or turned, close together: both layers are the product.

    Together they take the area that the one was to have, and lie inside the frame unless it crops.
    """
    x0, y0, x1, y1 = placed.warp.extent
    w, h = x1 - x0, y1 - y0
    if w < 1.3 * h:
        step = (w * rng.uniform(0.65, 0.95), h * rng.uniform(-0.2, 0.2))
    else:
        step = (w * rng.uniform(-0.25, 0.25), h * rng.uniform(0.65, 0.95))
    both = (w + abs(step[0]), h + abs(step[1]))
    fit = min(size_px[0] / both[0], size_px[1] / both[1])
    scale = min(placed.scale * math.sqrt(w * h / (both[0] * both[1])), fit * (_CROPPED_PAIR if crop else _WHOLE_PAIR))
    middle = list(placed.centre)
    if not crop:
        for axis, (length, offset) in enumerate(zip(both, ((x0 + x1) / 2, (y0 + y1) / 2), strict=True)):
            half = length * scale / (2 * _WHOLE_PAIR)
            free = float(np.clip(middle[axis] + offset * scale, half, max(size_px[axis] - half, half)))
            middle[axis] = free - offset * scale
    layers: list[Layer] = []
    for sign in (-0.5, 0.5):
        pose = replace(
            placed.pose,
            rotation_deg=placed.pose.rotation_deg + float(rng.normal(0, 8)),
            mirrored=placed.pose.mirrored != (sign > 0 and chance(rng, 0.7)),
            seed=int(rng.integers(2**31)),
        )
        centre = (middle[0] + sign * step[0] * scale, middle[1] + sign * step[1] * scale)
        warp = plan_warp(placed.thing.image, pose)
        layers += _drawn(Placement(placed.thing, pose, warp, scale, centre), size_px, shadow)
    return layers


def surround(
    rng: np.random.Generator,
    size_px: tuple[int, int],
    core: Sequence[Layer],
    pick: Callable[[np.random.Generator], Thing],
    cfg: SceneConfig,
) -> list[Layer]:
    """Add props and distractors behind, distractors and occluders before; none that takes the core's place.

    Args:
        rng: Their source.
        size_px: Width and height of the picture.
        core: As `core_layers` gives it; empty for a scene without product, which gets props alone.
        pick: Draws a distractor.
        cfg: Shares and bounds.
    """
    props: list[Layer] = []
    if chance(rng, cfg.prop_frac):
        for _ in range(int(rng.integers(1, 4))):
            props += overlay(figures.prop(rng, size_px), "prop", 0.3)
    layers = list(core)
    box = core_box(layers, size_px)
    if box is None:
        return [*props, *layers]
    if cfg.max_distractors and chance(rng, cfg.distractor_frac):
        anchor = _anchor(box)
        rival = chance(rng, cfg.rival_frac)
        for number in range(int(rng.integers(1, cfg.max_distractors + 1))):
            placed = place_beside(rng, pick(rng), anchor, size_px, rival and number == 0)
            layer = draw(placed, size_px, "distractor", rng.uniform(0.1, 0.5))
            in_front = chance(rng, 0.4)
            if layer is None:
                continue
            trial = [*layers, layer] if in_front else [layer, *layers]
            if stays_core(trial, core, size_px, cfg.max_occluded_frac):
                layers = trial
    if chance(rng, cfg.occluded_frac):
        trial = [*layers, *_occluder(rng, size_px, box)]
        if stays_core(trial, core, size_px, cfg.max_occluded_frac):
            layers = trial
    return [*props, *layers]


def _occluder(rng: np.random.Generator, size_px: tuple[int, int], box: Box) -> list[Layer]:
    """A hand that holds the product's lower part, or a plant at its side."""
    if chance(rng, 0.5):
        target = (rng.uniform(box[0], box[2]), rng.uniform(0.4 * box[1] + 0.6 * box[3], box[3]))
        return overlay(figures.hand(rng, size_px, target), "hand", 0.25)
    edge = (box[0] if chance(rng, 0.5) else box[2], rng.uniform(box[1], box[3]))
    reach = rng.uniform(0.2, 0.6) * max(size_px)
    return overlay(figures.leaf(rng, size_px, edge, reach), "leaf", 0.2)


def signs(
    rng: np.random.Generator,
    size_px: tuple[int, int],
    layers: Sequence[Layer],
    core: Sequence[Layer],
    cfg: SceneConfig,
) -> list[Layer]:
    """Promotion text and badges printed over the picture; none that hides too much of what is for sale.

    Args:
        rng: Their source.
        size_px: Width and height of the picture.
        layers: What is in the picture.
        core: The product's layers among them.
        cfg: Shares and bounds.
    """
    box = core_box(layers, size_px)
    printed: list[Layer] = []
    for _ in range(int(rng.integers(1, 4))):
        sign = overlay(figures.sign(rng, size_px, box), "sign", 0.0)
        if box is None or stays_core([*layers, *printed, *sign], core, size_px, cfg.max_occluded_frac):
            printed += sign
    return printed


def stays_core(
    layers: Sequence[Layer], core: Sequence[Layer], size_px: tuple[int, int], max_occluded_frac: float
) -> bool:
    """Whether the product is still what the picture is of, and whatever else is for sale can be told.

    It must be hidden by no more than `max_occluded_frac` of what the frame shows of it, and every distractor must
    show clearly fewer pixels, and if not far fewer, lie clearly further from the middle. A distractor of which a
    sliver looks out is no object to a person, yet its box would say that it is one.
    """
    masks = visible_masks(layers, size_px)
    alone, among = product_mask(core, size_px), _product_of(masks, layers)
    if alone is None or among is None:
        return False
    num_px = int(among.sum())
    if num_px < (1.0 - max_occluded_frac) * int(alone.sum()):
        return False
    box = mask_box(among)
    if box is None:
        return False
    for mask, layer in zip(masks, layers, strict=True):
        if mask is None or layer.kind != "distractor":
            continue
        other = mask_box(mask)
        if other is None or min(other[2] - other[0], other[3] - other[1]) < _MIN_BOX_PX:
            return False
        if int(mask.sum()) < _MIN_SEEN * int((coverage(layer) >= MASK_LEVEL / 255).sum()):
            return False
        ratio = int(mask.sum()) / num_px
        if ratio > _MAX_RIVAL or (
            ratio > _LARGE_RIVAL and off_centre(other, size_px) < off_centre(box, size_px) + _FURTHER
        ):
            return False
    return True


def off_centre(box: Box, size_px: tuple[int, int]) -> float:
    """Distance of the box's middle from the picture's, as a share of half its diagonal."""
    x = ((box[0] + box[2]) / size_px[0] - 1.0) / 2
    y = ((box[1] + box[3]) / size_px[1] - 1.0) / 2
    return float(np.hypot(x, y) / np.hypot(0.5, 0.5))


def product_mask(layers: Sequence[Layer], size_px: tuple[int, int]) -> np.ndarray | None:
    """What is seen of the product, all its layers together: (H, W) bool; None where there is none."""
    return _product_of(visible_masks(layers, size_px), layers)


def _product_of(masks: Sequence[np.ndarray | None], layers: Sequence[Layer]) -> np.ndarray | None:
    pairs = zip(masks, layers, strict=True)
    mine = [mask for mask, layer in pairs if layer.kind == "product" and mask is not None]
    return np.asarray(np.logical_or.reduce(mine)) if mine else None


def core_box(layers: Sequence[Layer], size_px: tuple[int, int]) -> Box | None:
    """Extent of what is seen of the product."""
    mask = product_mask(layers, size_px)
    return None if mask is None else mask_box(mask)


def _anchor(box: Box) -> Placement:
    """A placement that stands for the core's visible box."""
    w, h = max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1]))
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    thing = Thing(Image.new("RGBA", (w, h), (0, 0, 0, 255)), "")
    return Placement(thing, Pose(), plan_warp(thing.image, Pose()), 1.0, centre)
