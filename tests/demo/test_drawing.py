"""Sprites and shots: every leaf draws, the box is the mask's, light changes no identity."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.demo.assortment import Article, plan_articles
from catalog.demo.camera import MASK_LEVEL, View, take
from catalog.demo.easel import Easel, Paint
from catalog.demo.outlines import box, ellipse, motif_outlines
from catalog.demo.sessions import draw, shop_views, shopper_view
from catalog.demo.shapes import DRAWINGS
from catalog.demo.taxonomy import LEAVES, MOTIFS, PATTERNS, POTTERY
from catalog.demo.textures import pattern

ARTICLES = plan_articles(400, seed=3)
OF_LEAF = {leaf.name: [a for a in ARTICLES if a.leaf is leaf] for leaf in LEAVES}


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def test_every_leaf_has_its_drawing() -> None:
    assert {leaf.draw for leaf in LEAVES} == set(DRAWINGS)


@pytest.mark.parametrize("name", [leaf.name for leaf in LEAVES])
def test_box_encloses_the_mask_and_nothing_more(name: str) -> None:
    for article in OF_LEAF[name][:3]:
        sprite = draw(article, "shop", 64)
        for view in (*(view for _, view in shop_views(article)), shopper_view(article, random.Random(1))):
            shot = take(sprite, view, 64)
            assert shot.box == _bounds(np.asarray(shot.mask) >= MASK_LEVEL)


def test_mask_is_where_the_product_changes_the_picture() -> None:
    article = OF_LEAF["Mugs"][0]
    view = View(seed=1, background="plain", light_height=1.2, noise=0.0, scale=0.6)
    sprite = draw(article, "shop", 96)
    shot = take(sprite, view, 96)
    elsewhere = take(sprite, replace(view, centre=(-2.0, -2.0)), 96)
    difference = np.abs(np.asarray(shot.image, int) - np.asarray(elsewhere.image, int)).max(axis=2)
    x0, y0, x1, y1 = (int(v) for v in shot.box)
    inside = np.asarray(shot.mask) >= MASK_LEVEL
    assert (difference[inside] > 12).mean() > 0.85
    outside = difference.copy()
    outside[max(0, y0 - 9) : y1 + 9, max(0, x0 - 9) : x1 + 9] = 0
    assert outside.max() <= 45  # the soft shadow only


@pytest.mark.parametrize("name", [leaf.name for leaf in LEAVES])
def test_two_designs_of_a_leaf_look_different(name: str) -> None:
    by_group = {article.group_id: article for article in OF_LEAF[name]}
    first, second = list(by_group.values())[:2]
    # The same colours on both: what is left is shape, pattern and parts.
    second = replace(second, base=first.base, accent=first.accent)
    view = View(seed=5)
    one, two = (np.asarray(take(draw(a, "shop", 64), view, 64).image, int) for a in (first, second))
    assert np.abs(one - two).mean() > 4


def test_colours_of_a_group_share_the_outline() -> None:
    groups: dict[str, list[Article]] = {}
    for article in ARTICLES:
        groups.setdefault(article.group_id, []).append(article)
    checked = 0
    for members in groups.values():
        if len(members) < 2 or members[0].leaf.name not in ("Mugs", "Vases", "Watches", "Cushions", "Caps"):
            continue
        pose_free = [replace(member, seed=members[0].seed) for member in members]
        masks = [np.asarray(draw(member, "shop", 64).colour)[..., 3] > 0 for member in pose_free]
        assert all(np.array_equal(masks[0], mask) for mask in masks[1:])
        checked += 1
    assert checked >= 5


def test_light_keeps_the_colour() -> None:
    article = next(a for a in OF_LEAF["Cushions"] if a.traits["colour"] == "red" or a.base[0] > a.base[2] + 60)
    sprite = draw(article, "shop", 64)
    reds = []
    for degrees in (0, 90, 180, 270):
        shot = take(sprite, View(seed=2, light_deg=degrees), 64)
        pixels = np.asarray(shot.image, float)[np.asarray(shot.mask) > 250]
        reds.append(pixels.mean(axis=0))
    assert np.ptp(np.stack(reds), axis=0).max() < 25


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(0.4, 1.3),
    x=st.floats(0.2, 0.8),
    y=st.floats(0.2, 0.8),
    degrees=st.floats(-30, 30),
    mirrored=st.booleans(),
)
def test_any_camera_keeps_the_box_in_the_frame(
    scale: float, x: float, y: float, degrees: float, mirrored: bool
) -> None:
    easel = Easel(96, random.Random(0))
    easel.part(ellipse(0.5, 0.5, 0.3, 0.2), Paint((200, 30, 40)))
    view = View(seed=9, scale=scale, centre=(x, y), rotation_deg=degrees, mirrored=mirrored, tilt=0.05)
    shot = take(easel.sprite(), view, 48)
    x0, y0, x1, y1 = shot.box
    assert 0 <= x0 < x1 <= 48
    assert 0 <= y0 < y1 <= 48


def test_placement_agrees_with_closed_form() -> None:
    easel = Easel(200, random.Random(0))
    easel.part(box(0.1, 0.3, 0.9, 0.7), Paint((200, 30, 40)), puff=0.002)
    shot = take(easel.sprite(), View(seed=1, scale=0.5, centre=(0.5, 0.25)), 200)
    assert shot.box == pytest.approx((50, 25, 150, 75), abs=1.5)


def test_parts_cover_each_other_and_marks_stay_on_the_product() -> None:
    easel = Easel(100, random.Random(0))
    easel.part(box(0.2, 0.2, 0.8, 0.8), Paint((10, 20, 200)), form="flat")
    easel.part(box(0.4, 0.4, 0.6, 0.6), Paint((200, 20, 10)), form="flat", contact=0)
    easel.mark([box(0.0, 0.45, 1.0, 0.5)], (0, 255, 0))
    sprite = easel.sprite()
    pixels = np.asarray(sprite.colour)
    assert sprite.colour.size == (61, 61)
    assert tuple(pixels[5, 5]) == (10, 20, 200, 255)
    assert tuple(pixels[38, 30]) == (200, 20, 10, 255)
    assert tuple(pixels[27, 30]) == (0, 255, 0, 255)


def test_an_empty_easel_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing was painted"):
        Easel(16, random.Random(0)).sprite()


@pytest.mark.parametrize("name", sorted({*PATTERNS, *POTTERY, "pleats"} - {"solid"}))
def test_patterns_show_at_the_training_size(name: str) -> None:
    sheet = pattern(name, (40, 60, 160), (240, 220, 60), 112, random.Random(4))
    assert sheet.shape == (112, 112, 3)
    assert sheet.std(axis=(0, 1)).max() > 12
    assert np.array_equal(sheet, pattern(name, (40, 60, 160), (240, 220, 60), 112, random.Random(4)))


def test_motifs_are_different_shapes() -> None:
    masks = set()
    for name in MOTIFS:
        easel = Easel(64, random.Random(0))
        easel.part(box(0, 0, 1, 1), Paint((0, 0, 0)), form="flat")
        easel.mark(motif_outlines(name, 0.5, 0.5, 0.4), (255, 255, 255))
        masks.add(np.asarray(easel.sprite().colour).tobytes())
    assert len(masks) == len(MOTIFS)
