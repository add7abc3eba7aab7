"""Scenes: cut-outs and drawn products in pictures like those that people take, with exact boxes.

The core product is the largest by construction, and more central than any that comes near its size; what would
contest that is taken out again before the picture is painted. A scene is a function of cut-outs, configuration,
backgrounds and its seed, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from models.scenes.arranging import Setting, core_layers, product_mask, signs, surround
from models.scenes.backgrounds import Backgrounds, lit, make_ground, studio
from models.scenes.camera import develop, expose
from models.scenes.config import SceneConfig
from models.scenes.contrast import in_sight
from models.scenes.cutouts import Cutout, mirrored
from models.scenes.fabric import restyle
from models.scenes.fields import chance
from models.scenes.layers import Layer, mask_box, paint, visible_masks
from models.scenes.placing import Thing, scene_size
from models.scenes.scene import Scene, SceneBox
from models.scenes.silhouettes import draw_product

_KINDS = ("studio", "whole", "empty", "collage", "home")
"""In step with the configuration's shares; home takes the rest."""
_TOPS = ("shirt", "tee", "top", "jacket", "hoodie", "sweater", "dress", "blouse", "coat", "tank", "polo", "cardigan")
_BOTTOMS = ("trouser", "pant", "jean", "skirt", "short", "legging")
_PAIRED = ("shoe", "sneaker", "boot", "sandal", "pump", "slipper", "loafer", "glove", "earring", "sock", "footwear")
_MIN_PANEL_PX = 24


class SceneComposer:
    """Draws scenes.

    Args:
        cutouts: Of the catalogue; empty: drawn products alone.
        cfg: Shares and bounds.
        backgrounds: Photographs to make backgrounds of; None or empty: all are drawn.
    """

    def __init__(
        self, cutouts: Sequence[Cutout], cfg: SceneConfig = SceneConfig(), backgrounds: Backgrounds | None = None
    ) -> None:
        self._cutouts = tuple(cutouts)
        self._cfg = cfg
        self._backgrounds = backgrounds if backgrounds else None

    def scene(self, seed: int, core: Cutout | None = None) -> Scene:
        """Draw the scene of this number: the same picture and boxes whenever it is asked for.

        Args:
            seed: At least 0.
            core: The product that the scene is of; one drawn from all where None. What else lies about is drawn anyway.
        """
        cfg = self._cfg
        rng = np.random.default_rng((cfg.seed, seed))
        shares = (cfg.studio_frac, cfg.whole_frame_frac, cfg.empty_frac, cfg.collage_frac)
        kind = _KINDS[int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))]
        size_px = scene_size(rng, cfg.side_px, kind == "studio")
        if kind == "collage":
            return self._collage(rng, size_px, core)
        if kind == "empty":
            return self._photograph(rng, size_px, "lying", None)
        thing = self._core(rng, core)
        if kind == "studio":
            return self._photograph(rng, size_px, "studio", thing)
        return self._photograph(rng, size_px, "whole" if kind == "whole" else self._setting(rng, thing), thing)

    def _photograph(
        self, rng: np.random.Generator, size_px: tuple[int, int], setting: Setting, thing: Thing | None
    ) -> Scene:
        """One picture: ground, layers, signs, camera."""
        cfg = self._cfg
        is_studio = setting == "studio"
        upright = setting in ("hung", "worn") or bool(thing and thing.cut_sides and chance(rng, 0.6))
        ground = self._ground(rng, size_px, is_studio, upright)
        core = core_layers(rng, size_px, setting, thing, cfg) if thing else []
        bare = setting in ("studio", "whole")
        others = partial(self._thing, apart_from=thing.group if thing else None)
        layers = core if bare else surround(rng, size_px, core, others, cfg)
        light_deg, camera = rng.uniform(180, 360), int(rng.integers(2**62))

        def exposed(stack: Sequence[Layer]) -> np.ndarray:
            pixels = paint(np.array(ground, np.float32), stack, light_deg)
            return expose(np.random.default_rng(camera), pixels, is_studio)

        if bare:
            pixels = exposed(layers)
        else:
            hidden = setting == "lying" and chance(rng, cfg.camouflage_frac)
            pixels = in_sight(rng, ground, layers, size_px, hidden, exposed)
        printed = signs(rng, size_px, layers, core, cfg) if chance(rng, cfg.sign_frac) else []
        pixels = paint(pixels, printed, 0.0)
        return _finished(develop(rng, pixels, is_studio), [*layers, *printed], size_px)

    def _ground(self, rng: np.random.Generator, size_px: tuple[int, int], is_studio: bool, upright: bool) -> np.ndarray:
        cfg = self._cfg
        width, height = size_px
        if is_studio:
            return studio(rng, height, width)
        photos = self._backgrounds if chance(rng, cfg.photo_background_frac) else None
        ground = make_ground(rng, height, width, bold=chance(rng, cfg.bold_frac), upright=upright, photos=photos)
        return lit(rng, ground)

    def _setting(self, rng: np.random.Generator, thing: Thing) -> Setting:
        """Lying, or of garments a share hung and worn."""
        draw = rng.random()
        if thing.cut_sides:
            return "lying"
        if thing.is_top and draw < self._cfg.worn_frac:
            return "worn"
        return "hung" if thing.is_garment and draw > 1.0 - self._cfg.hanger_frac else "lying"

    def _core(self, rng: np.random.Generator, cutout: Cutout | None) -> Thing:
        return self._thing(rng) if cutout is None else self._of_cutout(rng, cutout)

    def _thing(self, rng: np.random.Generator, apart_from: str | None = None) -> Thing:
        """A cut-out of another article than `apart_from`, restyled perhaps, or a drawn product."""
        cfg = self._cfg
        if not self._cutouts or chance(rng, cfg.drawn_frac):
            return self._drawn(rng)
        # A variant of the core would be a second right answer.
        others = [cutout for cutout in self._cutouts if apart_from is None or cutout.group_id != apart_from]
        return self._of_cutout(rng, others[rng.integers(len(others))]) if others else self._drawn(rng)

    @staticmethod
    def _drawn(rng: np.random.Generator) -> Thing:
        drawn = draw_product(rng)
        return Thing(
            drawn.image,
            drawn.kind,
            is_garment=drawn.is_garment,
            is_top=drawn.is_top,
            paired=drawn.kind == "shoe",
        )

    def _of_cutout(self, rng: np.random.Generator, cutout: Cutout) -> Thing:
        cfg = self._cfg
        if chance(rng, 0.5):
            cutout = mirrored(cutout)
        floats = bool(cutout.cut_sides) and chance(rng, cfg.floating_frac)
        image = restyle(rng, cutout.image) if chance(rng, cfg.restyle_frac) else cutout.image
        words = f"{cutout.title} {' '.join(cutout.category)}".casefold()
        # What its photograph cuts is a person or a close-up, and needs no other figure.
        is_top = not cutout.cut_sides and any(word in words for word in _TOPS)
        return Thing(
            image=image,
            name=cutout.title or cutout.product_id,
            cut_sides=() if floats else cutout.cut_sides,
            is_garment=is_top or (not cutout.cut_sides and any(word in words for word in _BOTTOMS)),
            is_top=is_top,
            paired=any(word in words for word in _PAIRED),
            group=cutout.group_id,
        )

    def _collage(self, rng: np.random.Generator, size_px: tuple[int, int], core: Cutout | None) -> Scene:
        """Two to four panels with the same product; the largest is the core, the others are distractors."""
        width, height = size_px
        thing = replace(self._core(rng, core), cut_sides=())
        picture = Image.new("RGB", size_px, (255, 255, 255))
        gap = int(rng.integers(0, 5))
        found: list[tuple[str, np.ndarray]] = []
        for left, top, right, bottom in _panels(rng, size_px):
            part = (max(_MIN_PANEL_PX, right - left - gap), max(_MIN_PANEL_PX, bottom - top - gap))
            panel = self._photograph(rng, part, "studio" if chance(rng, 0.5) else "lying", thing)
            picture.paste(panel.image, (left, top))
            for item, mask in zip(panel.boxes, panel.masks, strict=True):
                whole = np.zeros((height, width), dtype=bool)
                seen = mask[: height - top, : width - left]
                whole[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
                found.append((item.name, whole))
        boxed = [(name, mask, box) for name, mask in found if (box := mask_box(mask)) is not None]
        mine = [row for row in boxed if row[0] == thing.name]
        if not mine:
            return Scene(picture, ())
        largest = max(mine, key=lambda row: (row[2][2] - row[2][0]) * (row[2][3] - row[2][1]))
        boxed.sort(key=lambda row: row is not largest)
        boxes = [SceneBox(row[2], "product" if row is largest else "distractor", row[0]) for row in boxed]
        return Scene(picture, tuple(boxes), tuple(row[1] for row in boxed))


def _panels(rng: np.random.Generator, size_px: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    width, height = size_px
    x, y = round(width * rng.uniform(0.4, 0.6)), round(height * rng.uniform(0.4, 0.6))
    count = rng.integers(2, 5)
    if count == 2:
        if width > 0.8 * height:
            return [(0, 0, x, height), (x, 0, width, height)]
        return [(0, 0, width, y), (0, y, width, height)]
    right = [(x, 0, width, y), (x, y, width, height)]
    return [(0, 0, x, height), *right] if count == 3 else [(0, 0, x, y), (0, y, x, height), *right]


def _finished(image: Image.Image, layers: Sequence[Layer], size_px: tuple[int, int]) -> Scene:
    """The picture with the boxes of what is seen in it."""
    boxes: list[SceneBox] = []
    kept: list[np.ndarray] = []
    core = product_mask(layers, size_px)
    if core is not None and (box := mask_box(core)) is not None:
        boxes.append(SceneBox(box, "product", next(layer.name for layer in layers if layer.kind == "product")))
        kept.append(core)
    for mask, layer in zip(visible_masks(layers, size_px), layers, strict=True):
        box = mask_box(mask) if mask is not None and layer.kind == "distractor" else None
        if mask is not None and box is not None:
            boxes.append(SceneBox(box, "distractor", layer.name))
            kept.append(mask)
    return Scene(image, tuple(boxes), tuple(kept))
