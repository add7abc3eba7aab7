"""Drawn people before a plain wall, with the exact boxes of what they wear."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from catalog import Box

Rgb = tuple[int, int, int]

SKINS: dict[str, Rgb] = {
    "very light": (246, 214, 194),
    "light": (232, 184, 152),
    "medium": (198, 140, 104),
    "brown": (141, 85, 56),
    "dark": (88, 52, 36),
}
SIZE_PX = (300, 384)
WHITE: Rgb = (255, 255, 255)


@dataclass(frozen=True)
class Person:
    """A picture of a person and where the garments are."""

    image: Image.Image
    top: Box
    bottom: Box
    shoes: Box | None
    whole: Box


def standing(
    skin: Rgb,
    top: Rgb,
    bottom: Rgb,
    wall: Rgb = WHITE,
    hair: Rgb = (52, 34, 26),
    sleeve_px: int = 60,
    top_height_px: int = 110,
    leg_px: int = 60,
    shift_px: int = 0,
) -> Person:
    """A whole person, 384 px high, arms hanging.

    Args:
        sleeve_px: Length of the sleeves; the rest of an arm of 130 px is bare.
        top_height_px: From the shoulders down; the trousers begin there, or at the waist, where the belly is bare.
        leg_px: Length of the trousers' legs, of 150.
        shift_px: To the right of the middle.
    """
    image = Image.new("RGB", SIZE_PX, wall)
    draw = ImageDraw.Draw(image)
    middle, shoulder = 150 + shift_px, 76
    waist = shoulder + 110

    def rect(x0: int, y0: int, x1: int, y1: int, colour: Rgb) -> None:
        draw.rectangle((middle + x0, y0, middle + x1 - 1, y1 - 1), fill=colour)

    rect(-10, 55, 10, shoulder + 6, skin)
    draw.ellipse((middle - 21, 14, middle + 20, 66), fill=skin)
    draw.chord((middle - 21, 12, middle + 20, 60), 180, 360, fill=hair)
    for side in (-1, 1):
        inner, outer = sorted((side * 40, side * 58))
        rect(inner, shoulder + 4, outer, shoulder + 134, skin)
        if sleeve_px:
            rect(inner, shoulder + 4, outer, shoulder + 4 + sleeve_px, top)
        inner, outer = sorted((side * 6, side * 34))
        rect(inner, waist + 40, outer, waist + 184, skin)
        rect(inner, waist + 34, outer, waist + 34 + leg_px, bottom)
        inner, outer = sorted((side * 4, side * 38))
        rect(inner, waist + 176, outer, waist + 192, (30, 30, 34) if sum(wall) > 300 else (220, 220, 224))
    rect(-36, shoulder, 36, waist + 6, skin)
    rect(-36, waist, 36, waist + 40, bottom)
    rect(-40, shoulder, 40, shoulder + top_height_px, top)
    arm = 58 if sleeve_px else 40
    top_box = (middle - arm, shoulder, middle + arm, shoulder + max(top_height_px, 4 + sleeve_px if sleeve_px else 0))
    bottom_box = (middle - 36, max(waist, shoulder + top_height_px), middle + 36, waist + 34 + leg_px)
    shoes = (middle - 38, waist + 176, middle + 38, waist + 192)
    whole = (middle - 58, 12, middle + 58, waist + 192)
    return Person(image, _box(top_box), _box(bottom_box), _box(shoes), _box(whole))


def from_waist_down(skin: Rgb, bottom: Rgb, leg_px: int, wall: Rgb = WHITE) -> Person:
    """A person cut above the waist, hands beside the hips."""
    person = standing(skin, skin, bottom, wall, sleeve_px=0, leg_px=leg_px)
    cut = 76 + 110 - 34
    image = person.image.crop((0, cut, SIZE_PX[0], SIZE_PX[1]))
    boxes = [(x0, y0 - cut, x1, y1 - cut) for x0, y0, x1, y1 in (person.bottom, person.shoes or person.bottom)]
    x0, _, x1, y1 = person.whole
    return Person(image, boxes[0], boxes[0], boxes[1], (x0, 0.0, x1, y1 - cut))


def hoodie_flat(colour: Rgb, wall: Rgb = WHITE) -> Image.Image:
    """A garment alone, laid flat."""
    image = Image.new("RGB", SIZE_PX, wall)
    draw = ImageDraw.Draw(image)
    draw.ellipse((115, 40, 185, 110), fill=colour)
    draw.rectangle((90, 90, 209, 290), fill=colour)
    draw.polygon([(90, 90), (40, 250), (70, 258), (100, 150)], fill=colour)
    draw.polygon([(209, 90), (259, 250), (229, 258), (199, 150)], fill=colour)
    draw.rectangle((120, 210, 179, 250), fill=tuple(value * 3 // 4 for value in colour))
    return image


def _box(numbers: tuple[int, int, int, int]) -> Box:
    return (float(numbers[0]), float(numbers[1]), float(numbers[2]), float(numbers[3]))
