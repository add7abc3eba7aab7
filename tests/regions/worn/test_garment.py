"""The garment of a drawn person, whose exact box is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from catalog import Box
from catalog.demo.palette import COLOURS
from models.regions import box_iou
from models.regions.config import GarmentKind
from models.regions.worn.figure import shrink
from models.regions.worn.garment import find_garment
from tests.regions.worn.people import SKINS, WHITE, Rgb, from_waist_down, hoodie_flat, standing

CLOTH = {name: colour for name, colour in COLOURS.items() if name not in ("brown", "beige", "pink", "orange", "white")}
"""Colours that no skin and no hair has, and that stand out from a white wall."""


def found(image: Image.Image, kind: GarmentKind) -> Box | None:
    """The garment's box in pixels of `image`."""
    small = shrink(image, 128)
    garment = find_garment(np.asarray(small), kind)
    if garment is None:
        return None
    x, y = image.width / small.width, image.height / small.height
    return (garment.box[0] * x, garment.box[1] * y, garment.box[2] * x, garment.box[3] * y)


def iou(image: Image.Image, kind: GarmentKind, box: Box) -> float:
    answer = found(image, kind)
    return 0.0 if answer is None else box_iou(answer, box)


two_colours = st.permutations(sorted(CLOTH)).map(lambda names: (CLOTH[names[0]], CLOTH[names[1]]))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SKINS)), two_colours, st.integers(-40, 40), st.integers(0, 120))
def test_top_and_trousers_of_any_colour_on_any_skin_are_found(
    skin: str, colours: tuple[Rgb, Rgb], shift_px: int, sleeve_px: int
) -> None:
    # A sleeve of a few pixels is narrower than the figure's rim.
    person = standing(SKINS[skin], *colours, sleeve_px=0 if sleeve_px < 20 else sleeve_px, shift_px=shift_px)
    if np.linalg.norm(np.subtract(*colours)) > 60:
        assert iou(person.image, "upper", person.top) >= 0.75
        assert iou(person.image, "lower", person.bottom) >= 0.75


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(SKINS)), st.sampled_from(sorted(CLOTH)), st.integers(20, 140))
def test_trousers_of_any_length_are_found_where_the_head_is_not_in_the_picture(
    skin: str, colour: str, leg_px: int
) -> None:
    person = from_waist_down(SKINS[skin], CLOTH[colour], leg_px)
    assert iou(person.image, "lower", person.bottom) >= 0.8


@pytest.mark.parametrize("skin", sorted(SKINS))
def test_a_short_top_above_a_bare_belly_ends_there_though_the_trousers_have_its_colour(skin: str) -> None:
    black = COLOURS["black"]
    person = standing(SKINS[skin], black, black, sleeve_px=0, top_height_px=50)
    assert iou(person.image, "upper", person.top) >= 0.8
    assert iou(person.image, "lower", person.bottom) >= 0.8


@pytest.mark.parametrize("name", ["orange", "yellow", "pink", "red"])
@pytest.mark.parametrize("skin", sorted(SKINS))
def test_garments_near_the_hue_of_skin_are_cloth(name: str, skin: str) -> None:
    person = standing(SKINS[skin], COLOURS[name], COLOURS["navy"])
    assert iou(person.image, "upper", person.top) >= 0.8
    person = from_waist_down(SKINS[skin], COLOURS[name], 60)
    assert iou(person.image, "lower", person.bottom) >= 0.8


def test_crossed_arms_do_not_cut_a_shirt() -> None:
    person = standing(SKINS["brown"], COLOURS["yellow"], COLOURS["black"], top_height_px=118)
    draw = ImageDraw.Draw(person.image)
    draw.rectangle((110, 128, 189, 146), fill=SKINS["brown"])
    assert iou(person.image, "upper", person.top) >= 0.85


def test_stripes_are_one_garment() -> None:
    person = standing(SKINS["light"], COLOURS["white"], COLOURS["black"], wall=(196, 204, 214))
    draw = ImageDraw.Draw(person.image)
    for y in range(80, 180, 16):
        draw.rectangle((110, y, 189, y + 7), fill=COLOURS["navy"])
    assert iou(person.image, "upper", person.top) >= 0.8


def test_shoes_are_found_below_bare_legs() -> None:
    person = standing(SKINS["medium"], COLOURS["teal"], COLOURS["navy"])
    assert person.shoes is not None
    assert iou(person.image, "feet", person.shoes) >= 0.7


def test_a_dress_reaches_from_the_shoulders_to_its_hem() -> None:
    person = standing(SKINS["light"], COLOURS["burgundy"], COLOURS["burgundy"], sleeve_px=0, leg_px=30)
    dress = (person.top[0], person.top[1], person.top[2], person.bottom[3])
    assert iou(person.image, "full", dress) >= 0.8


def test_a_hat_is_what_sits_above_the_face() -> None:
    person = standing(SKINS["light"], COLOURS["grey"], COLOURS["navy"], hair=COLOURS["green"])
    assert iou(person.image, "head", (129.0, 12.0, 171.0, 36.0)) >= 0.6


@pytest.mark.parametrize("wall", [WHITE, (128, 128, 132), (176, 198, 214), (20, 20, 24)])
def test_the_wall_may_have_any_plain_colour(wall: Rgb) -> None:
    person = standing(SKINS["medium"], COLOURS["red"], COLOURS["green"], wall)
    assert iou(person.image, "upper", person.top) >= 0.8


def test_a_wall_lit_from_one_side_is_still_plain() -> None:
    person = standing(SKINS["medium"], COLOURS["red"], COLOURS["navy"], (200, 206, 212))
    light = np.linspace(1.0, 0.97, person.image.width)[None, :, None]
    lit = Image.fromarray((np.asarray(person.image) * light).astype(np.uint8))
    assert iou(lit, "upper", person.top) >= 0.8


@pytest.mark.parametrize("name", sorted(COLOURS))
def test_a_garment_that_lies_flat_is_nobody(name: str) -> None:
    for kind in ("upper", "lower", "full", "feet", "head"):
        assert found(hoodie_flat(COLOURS[name]), kind) is None  # type: ignore[arg-type]


def test_nobody_is_found_on_an_empty_wall_or_in_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 100, 3), dtype=np.uint8)
    assert find_garment(noise, "upper") is None
    assert find_garment(np.full((128, 100, 3), 255, np.uint8), "upper") is None


def test_a_close_up_of_a_garment_is_left_alone() -> None:
    person = standing(SKINS["light"], COLOURS["blue"], COLOURS["black"])
    assert found(person.image.crop((115, 50, 185, 160)), "upper") is None


def test_cloth_of_the_very_colour_of_the_skin_is_not_found() -> None:
    skin = SKINS["medium"]
    assert found(standing(skin, skin, skin).image, "upper") is None
    assert found(from_waist_down(skin, skin, 80).image, "lower") is None


def test_the_box_of_a_mirrored_picture_is_mirrored() -> None:
    person = standing(SKINS["brown"], COLOURS["blue"], COLOURS["grey"], shift_px=30)
    box = found(person.image, "upper")
    mirrored = found(person.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "upper")
    assert box is not None
    assert mirrored is not None
    assert mirrored == pytest.approx((300 - box[2], box[1], 300 - box[0], box[3]), abs=5.0)
