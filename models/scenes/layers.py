"""A scene as a stack of layers: what is visible of each, and the picture that they make.

Legend: H, W height and width of the picture; masks are (H, W) bool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from catalog import Box

Kind = Literal["product", "distractor", "other"]

MASK_LEVEL = 96
"""A pixel belongs to a product when at least this much of it, out of 255, is covered and visible."""


@dataclass(frozen=True)
class Layer:
    """Something in the picture, drawn into the window that it covers."""

    image: Image.Image
    """RGBA, inside the picture."""
    left: int
    top: int
    kind: Kind
    name: str = ""
    shadow: float = 0.0
    """Darkness of the shadow that it throws, 0 to 1."""

    @property
    def window(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + self.image.height),
            slice(self.left, self.left + self.image.width),
        )


def overlay(image: Image.Image, name: str, shadow: float) -> list[Layer]:
    """A drawing of the picture's size as a layer of its own extent; none where it is empty."""
    box = image.getchannel("A").getbbox()
    return [] if box is None else [Layer(image.crop(box), box[0], box[1], "other", name, shadow)]


def coverage(layer: Layer) -> np.ndarray:
    """Alpha of the layer's window, (h, w) float32 in 0..1."""
    return np.asarray(layer.image.getchannel("A"), np.float32) / 255


def visible_masks(layers: Sequence[Layer], size_px: tuple[int, int]) -> list[np.ndarray | None]:
    """What is seen of every product and distractor, back to front.

    Args:
        layers: The lowest first.
        size_px: Width and height of the picture.

    Returns:
        In step with `layers`; None for layers that are neither.
    """
    through = np.ones((size_px[1], size_px[0]), np.float32)
    masks: list[np.ndarray | None] = []
    for layer in reversed(layers):
        alpha = coverage(layer)
        if layer.kind == "other":
            masks.append(None)
        else:
            mask = np.zeros(through.shape, dtype=bool)
            mask[layer.window] = alpha * through[layer.window] >= MASK_LEVEL / 255
            masks.append(mask)
        through[layer.window] *= 1 - alpha
    return masks[::-1]


def mask_box(mask: np.ndarray) -> Box | None:
    """Extent of a mask, pixels of the picture; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def paint(ground: np.ndarray, layers: Sequence[Layer], light_deg: float) -> np.ndarray:
    """The picture: every layer's shadow, then the layer.

    Args:
        ground: (H, W, 3) float32; painted over.
        layers: The lowest first.
        light_deg: Where the light comes from, clockwise from the right.

    Returns:
        `ground`.
    """
    for layer in layers:
        alpha = coverage(layer)
        if layer.shadow > 0:
            _shade(ground, layer, light_deg)
        window = ground[layer.window]
        window *= (1 - alpha)[..., None]
        window += np.asarray(layer.image.convert("RGB"), np.float32) * alpha[..., None]
    return ground


def _shade(ground: np.ndarray, layer: Layer, light_deg: float) -> None:
    """A tight shadow where the product touches its ground and a soft one away from the light."""
    height, width = ground.shape[:2]
    side = max(height, width)
    half = Image.new("L", (width // 2 + 1, height // 2 + 1))
    small = layer.image.getchannel("A").resize(
        (max(1, layer.image.width // 2), max(1, layer.image.height // 2)), Image.Resampling.BOX
    )
    half.paste(small, (layer.left // 2, layer.top // 2))
    turn = math.radians(light_deg)
    dx, dy = -math.cos(turn) * side, -math.sin(turn) * side
    total: np.ndarray | None = None
    for reach, spread, share in ((0.005, 0.008, 1.0), (0.02, 0.03, 0.7)):
        moved = half.transform(half.size, Image.Transform.AFFINE, (1, 0, -dx * reach / 2, 0, 1, -dy * reach / 2))
        soft = np.asarray(moved.filter(ImageFilter.BoxBlur(spread * side / 2)), np.float32) * (
            share * layer.shadow / 255
        )
        total = soft if total is None else np.maximum(total, soft)
    dark = np.asarray(
        Image.fromarray(np.asarray(total)).resize((half.width * 2, half.height * 2), Image.Resampling.BILINEAR)
    )
    ground *= (1 - dark[:height, :width])[..., None]
