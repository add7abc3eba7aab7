"""Scenes: cut-outs and drawn products in pictures like those that people take, with exact boxes.

The core product is the largest and most central by construction; what would contest that is taken out again before
the picture is painted. A scene is a function of cut-outs, configuration, backgrounds and its seed, and of nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from models.scenes import figures
from models.scenes.backgrounds import Backgrounds, lit, make_ground, mean_colour, studio
from models.scenes.camera import develop, expose
from models.scenes.config import SceneConfig
from models.scenes.cutouts import Cutout, mirrored
from models.scenes.fabric import restyle, tinted
from models.scenes.fields import chance
from models.scenes.layers import Layer, mask_box, paint, visible_masks
from models.scenes.placing import (
    Placement,
    Thing,
    draw,
    make_pose,
    place,
    place_beside,
    product_share,
    scene_size,
)
from models.scenes.scene import Scene, SceneBox
from models.scenes.silhouettes import draw_product

_KINDS = ("studio", "whole", "empty", "collage", "home")
"""In step with the configuration's shares; home takes the rest."""
_TOPS = ("shirt", "tee", "top", "jacket", "hoodie", "sweater", "dress", "blouse", "coat", "tank", "polo", "cardigan")
_PAIRED = ("shoe", "sneaker", "boot", "sandal", "pump", "slipper", "loafer", "glove", "earring", "sock", "footwear")
_MIN_VISIBLE = 0.45
"""Of the core's pixels, cut and hidden parts together: below that a person would not say that it is shown."""
_MIN_BOX_PX = 4
_RIVAL_AREA = 0.85
"""A distractor may be so large a part of the core, and larger ones only where they lie far from the middle."""


class SceneComposer:
    """Draws scenes.

    Args:
        cutouts: Of the catalogue; empty: drawn products alone.
        cfg: Shares and bounds.
        backgrounds: Photographs to make backgrounds of; None: all are drawn.
    """

    def __init__(
        self, cutouts: Sequence[Cutout], cfg: SceneConfig = SceneConfig(), backgrounds: Backgrounds | None = None
    ) -> None:
        self._cutouts = tuple(cutouts)
        self._cfg = cfg
        self._backgrounds = backgrounds if backgrounds else None

    def scene(self, seed: int) -> Scene:
        """Draw the scene of this number."""
        cfg = self._cfg
        rng = np.random.default_rng((cfg.seed, seed))
        shares = (cfg.studio_frac, cfg.whole_frame_frac, cfg.empty_frac, cfg.collage_frac)
        kind = _KINDS[int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))]
        size_px = scene_size(rng, cfg.side_px, kind == "studio")
        if kind == "collage":
            return self._collage(rng, size_px)
        return self._single(rng, size_px, kind, None)

    def _single(self, rng: np.random.Generator, size_px: tuple[int, int], kind: str, thing: Thing | None) -> Scene:
        """One photograph: ground, layers, camera."""
        cfg = self._cfg
        is_studio = kind == "studio"
        thing = thing or self._thing(rng)
        setting = "lying"
        if kind == "home" and thing.is_top and not thing.cut_sides:
            spot = rng.random()
            setting = (
                "worn"
                if spot < 2 * cfg.worn_frac
                else "hung"
                if spot < 2 * (cfg.worn_frac + cfg.hanger_frac)
                else setting
            )
        upright = setting != "lying" or bool(thing.cut_sides and chance(rng, 0.6))
        ground = self._ground(rng, size_px, is_studio, upright)
        if kind == "home" and chance(rng, cfg.camouflage_frac):
            near = mean_colour(ground) + rng.normal(0, 14, 3)
            thing = Thing(
                tinted(thing.image, near, rng.uniform(0.6, 0.9)),
                thing.name,
                thing.cut_sides,
                thing.is_top,
                thing.paired,
            )
        layers: list[Layer] = []
        if kind != "empty":
            layers = self._core(rng, size_px, kind, setting, thing)
        if not is_studio and kind != "whole":
            layers = self._surroundings(rng, size_px, layers)
        pixels = paint(np.array(ground, np.float32), layers, rng.uniform(180, 360))
        pixels = expose(rng, pixels, is_studio)
        image = pixels
        if chance(rng, cfg.sign_frac):
            printed = Image.fromarray(np.clip(image + 0.5, 0, 255).astype(np.uint8))
            figures.print_signs(rng, printed)
            image = np.asarray(printed, np.float32)
        return _finish(develop(rng, image, is_studio), layers, size_px)

    def _ground(self, rng: np.random.Generator, size_px: tuple[int, int], is_studio: bool, upright: bool) -> np.ndarray:
        cfg = self._cfg
        width, height = size_px
        if is_studio:
            return studio(rng, height, width)
        photos = self._backgrounds if chance(rng, cfg.photo_background_frac) else None
        ground = make_ground(rng, height, width, bold=chance(rng, cfg.bold_frac), upright=upright, photos=photos)
        return lit(rng, ground)

    def _thing(self, rng: np.random.Generator) -> Thing:
        """A cut-out, restyled perhaps, or a drawn product."""
        cfg = self._cfg
        if not self._cutouts or chance(rng, cfg.drawn_frac):
            drawn = draw_product(rng)
            return Thing(drawn.image, drawn.kind, is_top=drawn.is_top, paired=drawn.kind == "shoe")
        cutout = self._cutouts[rng.integers(len(self._cutouts))]
        if chance(rng, 0.5):
            cutout = mirrored(cutout)
        sides = () if chance(rng, cfg.floating_frac) else cutout.cut_sides
        image = restyle(rng, cutout.image) if chance(rng, cfg.restyle_frac) else cutout.image
        words = f"{cutout.title} {' '.join(cutout.category)}".casefold()
        upper = any(word in words for word in _TOPS) and not cutout.cut_sides
        return Thing(image, cutout.title or cutout.product_id, sides, upper, any(word in words for word in _PAIRED))

    def _core(
        self, rng: np.random.Generator, size_px: tuple[int, int], kind: str, setting: str, thing: Thing
    ) -> list[Layer]:
        """The product, or a pair, with its hanger or figure behind it."""
        cfg = self._cfg
        shadow = rng.uniform(0.1, 0.5) if kind != "studio" else rng.uniform(0.0, 0.25)
        calm = setting != "lying" or kind == "studio"
        pose = make_pose(rng, thing, calm)
        if kind == "whole":
            return _some(draw(_covering(thing, pose, size_px, rng), size_px, "product", 0.0))
        share = product_share(rng, cfg)
        if setting == "worn":
            share = min(share, 0.35)
        crop = chance(rng, cfg.crop_frac) and setting == "lying"
        placed = place(rng, thing, pose, share, size_px, crop)
        if setting == "hung" and chance(rng, 0.7):
            behind = figures.hanger(rng, size_px, placed.box)
            return [Layer(behind, 0, 0, "other", "hanger", 0.2), *_some(draw(placed, size_px, "product", shadow))]
        if setting == "worn":
            behind = figures.figure(rng, size_px, placed.box)
            return [Layer(behind, 0, 0, "other", "figure", 0.25), *_some(draw(placed, size_px, "product", 0.15))]
        if not thing.cut_sides and chance(rng, 0.6 if thing.paired else cfg.pair_frac):
            return self._pair(rng, size_px, placed, shadow)
        return _some(draw(placed, size_px, "product", shadow))

    def _pair(
        self, rng: np.random.Generator, size_px: tuple[int, int], placed: Placement, shadow: float
    ) -> list[Layer]:
        """The same product twice, mirrored or turned, close together: the layers of both are one product."""
        thing, scale = placed.thing, placed.scale * 0.72
        x0, y0, x1, y1 = placed.warp.extent
        w, h = (x1 - x0) * scale, (y1 - y0) * scale
        beside = w < h * 1.3
        step = (
            (w * rng.uniform(0.75, 1.1), h * rng.uniform(-0.2, 0.2))
            if beside
            else (w * rng.uniform(-0.25, 0.25), h * rng.uniform(0.7, 1.05))
        )
        layers: list[Layer] = []
        for sign in (-0.5, 0.5):
            turn = placed.pose.rotation_deg + rng.normal(0, 8)
            flip = placed.pose.mirrored != (sign > 0 and chance(rng, 0.7))
            pose = make_pose(rng, thing, True)
            pose = type(pose)(float(turn), flip, pose.tilt, placed.pose.bend, placed.pose.aspect, pose.seed)
            centre = (placed.centre[0] + sign * step[0], placed.centre[1] + sign * step[1])
            one = place(rng, thing, pose, 0.5, size_px, False)
            layers += _some(draw(Placement(thing, pose, one.warp, scale, centre), size_px, "product", shadow))
        return layers

    def _surroundings(self, rng: np.random.Generator, size_px: tuple[int, int], core: list[Layer]) -> list[Layer]:
        """Props and distractors behind, distractors and occluders before; none that takes the core's place."""
        cfg = self._cfg
        width, height = size_px
        layers = list(core)
        if chance(rng, cfg.prop_frac):
            for _ in range(int(rng.integers(1, 4))):
                layers.insert(0, Layer(figures.prop(rng, size_px), 0, 0, "other", "prop", 0.3))
        box = _core_box(layers, size_px)
        if box is None:
            return layers
        anchor = _anchor(box)
        if cfg.max_distractors and chance(rng, cfg.distractor_frac):
            rival = chance(rng, cfg.rival_frac)
            for number in range(int(rng.integers(1, cfg.max_distractors + 1))):
                placed = place_beside(rng, self._thing(rng), anchor, size_px, rival and number == 0)
                layer = draw(placed, size_px, "distractor", rng.uniform(0.1, 0.5))
                if layer is None:
                    continue
                in_front = chance(rng, 0.4)
                trial = [*layers, layer] if in_front else [layer, *layers]
                if not in_front and layers and layers[0].name == "prop":
                    trial = [layers[0], layer, *layers[1:]]
                if self._core_rules(trial, core, size_px):
                    layers = trial
        if chance(rng, cfg.occluded_frac):
            target = (rng.uniform(box[0], box[2]), rng.uniform(box[1] * 0.4 + box[3] * 0.6, box[3]))
            if chance(rng, 0.5):
                layer = Layer(figures.hand(rng, size_px, target), 0, 0, "other", "hand", 0.25)
            else:
                edge = (box[0] if chance(rng, 0.5) else box[2], rng.uniform(box[1], box[3]))
                reach = rng.uniform(0.2, 0.6) * max(width, height)
                layer = Layer(figures.leaf(rng, size_px, edge, reach), 0, 0, "other", "leaf", 0.2)
            if self._core_rules([*layers, layer], core, size_px):
                layers.append(layer)
        return layers

    def _core_rules(self, layers: list[Layer], core: list[Layer], size_px: tuple[int, int]) -> bool:
        """Whether the core stays visible enough, and larger or more central than every distractor."""
        masks = visible_masks(layers, size_px)
        alone = visible_masks(core, size_px)
        before = sum(int(mask.sum()) for mask in alone if mask is not None)
        after = sum(
            int(mask.sum())
            for mask, layer in zip(masks, layers, strict=True)
            if layer.kind == "product" and mask is not None
        )
        if after < (1 - self._cfg.max_occluded_frac) * before:
            return False
        core_box = _core_box(layers, size_px)
        if core_box is None:
            return False
        core_off = _off_centre(core_box, size_px)
        for mask, layer in zip(masks, layers, strict=True):
            if layer.kind != "distractor" or mask is None:
                continue
            box = mask_box(mask)
            if box is None:
                continue
            ratio = float(mask.sum()) / max(after, 1)
            if ratio > 1.0 or (ratio > 0.4 and _off_centre(box, size_px) < core_off + 0.1):
                return False
        return True

    def _collage(self, rng: np.random.Generator, size_px: tuple[int, int]) -> Scene:
        """Two to four panels with the same product; the largest is the core."""
        width, height = size_px
        thing = self._thing(rng)
        across = float(rng.uniform(0.4, 0.6))
        x, y = round(width * across), round(height * rng.uniform(0.4, 0.6))
        panels = {
            2: [(0, 0, x, height), (x, 0, width, height)]
            if width > height * 0.8
            else [(0, 0, width, y), (0, y, width, height)],
            3: [(0, 0, x, height), (x, 0, width, y), (x, y, width, height)],
            4: [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)],
        }[int(rng.integers(2, 5))]
        picture = Image.new("RGB", size_px, (255, 255, 255))
        found: list[tuple[SceneBox, np.ndarray]] = []
        gap = int(rng.integers(0, 5))
        for left, top, right, bottom in panels:
            part = (max(24, right - left - gap), max(24, bottom - top - gap))
            scene = self._single(rng, part, "studio" if chance(rng, 0.5) else "panel", thing)
            picture.paste(scene.image, (left, top))
            for item, mask in zip(scene.boxes, scene.masks, strict=True):
                full = np.zeros((height, width), dtype=bool)
                h, w = min(part[1], height - top), min(part[0], width - left)
                full[top : top + h, left : left + w] = mask[:h, :w]
                box = mask_box(full)
                if box is not None:
                    found.append((SceneBox(box, "distractor", item.name), full))
        found.sort(key=lambda pair: -_area(pair[0].box))
        boxes = [
            SceneBox(item.box, "product" if number == 0 else "distractor", item.name)
            for number, (item, _) in enumerate(found)
        ]
        return Scene(picture, tuple(boxes), tuple(mask for _, mask in found))


def _some(layer: Layer | None) -> list[Layer]:
    return [] if layer is None else [layer]


def _covering(thing: Thing, pose: object, size_px: tuple[int, int], rng: np.random.Generator) -> Placement:
    """Scaled so far that it covers nearly the whole picture."""
    straight = make_pose(rng, thing, True)
    placed = place(rng, Thing(thing.image, thing.name), straight, 1.0, size_px, False)
    x0, y0, x1, y1 = placed.warp.extent
    scale = max(size_px[0] / (x1 - x0), size_px[1] / (y1 - y0)) * rng.uniform(1.15, 1.9)
    centre = (size_px[0] / 2 - (x0 + x1) / 2 * scale, size_px[1] / 2 - (y0 + y1) / 2 * scale)
    return Placement(placed.thing, straight, placed.warp, scale, centre)


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _off_centre(box: tuple[float, float, float, float], size_px: tuple[int, int]) -> float:
    """Distance of the box's middle from the picture's, as a share of half its diagonal."""
    x = ((box[0] + box[2]) / size_px[0] - 1.0) / 2
    y = ((box[1] + box[3]) / size_px[1] - 1.0) / 2
    return float(np.hypot(x, y) / np.hypot(0.5, 0.5))


def _core_box(layers: Sequence[Layer], size_px: tuple[int, int]) -> tuple[float, float, float, float] | None:
    union = _union(visible_masks(layers, size_px), layers)
    return None if union is None else mask_box(union)


def _union(masks: Sequence[np.ndarray | None], layers: Sequence[Layer]) -> np.ndarray | None:
    """All pixels of the product's layers."""
    mine = [mask for mask, layer in zip(masks, layers, strict=True) if layer.kind == "product" and mask is not None]
    return np.asarray(np.logical_or.reduce(mine)) if mine else None


def _anchor(box: tuple[float, float, float, float]) -> Placement:
    """A placement that stands for the core's visible box."""
    from models.scenes.geometry import Pose, plan_warp

    w, h = max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1]))
    thing = Thing(Image.new("RGBA", (w, h)), "")
    return Placement(thing, Pose(), plan_warp((w, h), Pose()), 1.0, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


def _finish(image: Image.Image, layers: Sequence[Layer], size_px: tuple[int, int]) -> Scene:
    """The picture with the boxes of what is seen in it."""
    masks = visible_masks(layers, size_px)
    boxes: list[SceneBox] = []
    kept: list[np.ndarray] = []
    core = _union(masks, layers)
    if core is not None and (box := mask_box(core)) is not None:
        name = next(layer.name for layer in layers if layer.kind == "product")
        boxes.append(SceneBox(box, "product", name))
        kept.append(core)
    for mask, layer in zip(masks, layers, strict=True):
        if layer.kind != "distractor" or mask is None:
            continue
        box = mask_box(mask)
        if box is not None and min(box[2] - box[0], box[3] - box[1]) >= _MIN_BOX_PX:
            boxes.append(SceneBox(box, "distractor", layer.name))
            kept.append(mask)
    return Scene(image, tuple(boxes), tuple(kept))
