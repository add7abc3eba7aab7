"""What a drawing needs to know of the product: its attributes, colours, paints and its group's own proportions."""

from __future__ import annotations

import random

from catalog.demo.easel import Paint
from catalog.demo.palette import Rgb
from catalog.demo.seeds import noise_of, rng_of
from catalog.demo.textures import GLOSS, grain, pattern, scaled

BRASS: Rgb = (206, 168, 92)
STEEL: Rgb = (176, 180, 188)
DARK: Rgb = (44, 42, 44)
CREAM: Rgb = (238, 230, 214)
WOOD: Rgb = (168, 120, 74)
GUM: Rgb = (196, 150, 96)


class Look:
    """A product as its drawing sees it.

    Args:
        attributes: All true attribute values, also those the shop forgot to list.
        base: Main colour.
        accent: Second colour: of the pattern, motif and trim.
        design_seed: Shared by the group; decides proportions, pattern and grain.
        pose: Decides what differs from one photo session to the next: creases, how a strap falls.
        side_px: Side of the easel.
    """

    def __init__(
        self,
        attributes: dict[str, str | tuple[str, ...]],
        base: Rgb,
        accent: Rgb,
        design_seed: int,
        pose: random.Random,
        side_px: int,
    ) -> None:
        self.attributes = attributes
        self.base, self.accent = base, accent
        self.pose = pose
        self._design_seed, self._side_px = design_seed, side_px
        self._shape = rng_of(design_seed, "shape")
        self._paints: dict[tuple[object, ...], Paint] = {}

    def get(self, name: str) -> str:
        """The single value of an attribute, empty where the product has none."""
        value = self.attributes.get(name, "")
        return value if isinstance(value, str) else value[0]

    def has(self, detail: str) -> bool:
        return detail in self.attributes.get("details", ())

    def vary(self, low: float, high: float) -> float:
        """A proportion of this design, the same in every photo and colour of the group."""
        return self._shape.uniform(low, high)

    def sway(self, amount: float) -> float:
        """A shift between -amount and amount that belongs to the photo session."""
        return self.pose.uniform(-amount, amount)

    def size(self, small: float, medium: float, large: float) -> float:
        return {"small": small, "large": large}.get(self.get("size"), medium)

    @property
    def gloss(self) -> float:
        return GLOSS.get(self.get("material"), 0.0)

    @property
    def ink(self) -> Rgb:
        """Colour of seams: a darker ground colour, or a lighter one where the ground is nearly black."""
        return scaled(self.base, 0.62) if sum(self.base) > 170 else scaled(self.base, 1.22)

    @property
    def stitch_ink(self) -> Rgb:
        return self.accent if self.has("contrast stitching") else self.ink

    @property
    def main(self) -> Paint:
        """Pattern and material."""
        return self.paint(self.base, self.get("pattern") or "solid")

    @property
    def plain(self) -> Paint:
        """Material in the ground colour, without the pattern."""
        return self.paint(self.base)

    @property
    def trim(self) -> Paint:
        """Material in the second colour."""
        return self.paint(self.accent)

    def paint(
        self, colour: Rgb, pattern_name: str = "solid", material: str | None = None, opacity: float = 1.0
    ) -> Paint:
        """A paint with the product's own pattern and grain, made once."""
        material = self.get("material") if material is None else material
        key = (colour, pattern_name, material, opacity)
        if key not in self._paints:
            surface = grain(material, self._side_px, noise_of(self._design_seed, "grain"))
            texture = None
            if pattern_name not in ("", "solid") or surface is not None:
                texture = pattern(pattern_name, colour, self.accent, self._side_px, rng_of(self._design_seed, "print"))
                if surface is not None:
                    texture = texture * surface[..., None]
            self._paints[key] = Paint(colour, texture, GLOSS.get(material, 0.0), opacity)
        return self._paints[key]


def smooth(colour: Rgb, gloss: float = 0.0, opacity: float = 1.0) -> Paint:
    """A plain paint without grain: soles, buckles, buttons."""
    return Paint(colour, None, gloss, opacity)
