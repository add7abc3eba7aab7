"""Visible masks, painting and geometry against naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.scenes.arranging import off_centre, stays_core
from models.scenes.geometry import Pose, homography, plan_warp, render
from models.scenes.layers import MASK_LEVEL, Layer, mask_box, paint, visible_masks

WIDTH, HEIGHT = 12, 9


def layer(rng: np.random.Generator, kind: str) -> Layer:
    w, h = rng.integers(1, WIDTH), rng.integers(1, HEIGHT)
    left, top = rng.integers(0, WIDTH - w + 1), rng.integers(0, HEIGHT - h + 1)
    pixels = rng.integers(0, 256, (h, w, 4), dtype=np.uint8)
    return Layer(Image.fromarray(pixels), int(left), int(top), kind)  # type: ignore[arg-type]


def pixel_of(item: Layer, x: int, y: int) -> tuple[int, ...]:
    inside = 0 <= x - item.left < item.image.width and 0 <= y - item.top < item.image.height
    return tuple(item.image.getpixel((x - item.left, y - item.top))) if inside else (0, 0, 0, 0)  # type: ignore[arg-type]


@given(st.integers(0, 10**6), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_visible_masks_are_what_shines_through_all_layers_above(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = ["product", "distractor", "other"]
    layers = [layer(rng, kinds[rng.integers(3)]) for _ in range(count)]
    for number, (item, mask) in enumerate(zip(layers, visible_masks(layers, (WIDTH, HEIGHT)), strict=True)):
        if item.kind == "other":
            assert mask is None
            continue
        assert mask is not None
        for y in range(HEIGHT):
            for x in range(WIDTH):
                seen = pixel_of(item, x, y)[3] / 255
                for above in layers[number + 1 :]:
                    seen *= 1 - pixel_of(above, x, y)[3] / 255
                if abs(seen - MASK_LEVEL / 255) > 1e-5:
                    assert mask[y, x] == (seen > MASK_LEVEL / 255)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_painting_without_shadows_is_alpha_over(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [layer(rng, "other") for _ in range(3)]
    ground = rng.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)
    expected = ground.copy()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            for item in layers:
                r, g, b, a = pixel_of(item, x, y)
                expected[y, x] = expected[y, x] * (1 - a / 255) + np.array([r, g, b]) * a / 255
    assert paint(ground.copy(), layers, 225.0) == pytest.approx(expected, abs=1e-2)


def test_a_shadow_falls_away_from_the_light_and_darkens_no_product() -> None:
    block = Image.new("RGBA", (30, 30), (200, 50, 50, 255))
    item = Layer(block, 35, 35, "product", shadow=0.5)
    painted = paint(np.full((100, 100, 3), 200.0, np.float32), [item], light_deg=225.0)
    assert painted[70, 70].mean() < painted[30, 30].mean()
    assert painted[5, 5] == pytest.approx(200.0, abs=1)
    assert painted[50, 50] == pytest.approx([200, 50, 50], abs=1)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_a_mask_box_holds_all_its_pixels_and_no_free_row(seed: int) -> None:
    mask = np.random.default_rng(seed).random((9, 12)) < 0.05
    box = mask_box(mask)
    if not mask.any():
        assert box is None
        return
    assert box is not None
    x0, y0, x1, y1 = (int(value) for value in box)
    assert mask[y0:y1, x0:x1].sum() == mask.sum()
    assert mask[y0].any()
    assert mask[y1 - 1].any()
    assert mask[:, x0].any()
    assert mask[:, x1 - 1].any()


@given(st.lists(st.floats(-0.2, 0.2), min_size=8, max_size=8))
def test_a_homography_takes_the_corners_where_they_shall_go(shifts: list[float]) -> None:
    source = np.array([(0, 0), (40, 0), (40, 30), (0, 30)], dtype=float)
    target = source + 20 * np.array(shifts).reshape(4, 2)
    moved = np.column_stack([source, np.ones(4)]) @ homography(source, target).T
    assert moved[:, :2] / moved[:, 2:] == pytest.approx(target, abs=1e-6)


def test_rendering_upright_at_scale_one_returns_the_cut_out() -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 20, 4), dtype=np.uint8))
    solid = image.copy()
    solid.putalpha(255)
    pose = Pose()
    drawn = render(solid, plan_warp(solid, pose), pose, 1.0, (50.0, 40.0), (100, 80))
    assert drawn is not None
    window, (left, top) = drawn
    inner = np.asarray(window)[25 - top : 55 - top, 40 - left : 60 - left]
    assert np.abs(inner.astype(int) - np.asarray(solid).astype(int)).max() <= 1


@pytest.mark.parametrize("turn", [0.0, 90.0, 180.0])
def test_a_quarter_turn_goes_clockwise(turn: float) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 255, 255))
    image.paste((255, 0, 0, 255), (0, 0, 40, 10))
    pose = Pose(rotation_deg=turn)
    drawn = render(image, plan_warp(image, pose), pose, 1.0, (50.0, 50.0), (100, 100))
    assert drawn is not None
    window, (left, top) = drawn
    at = {0.0: (50, 34), 90.0: (66, 50), 180.0: (50, 66)}[turn]
    assert window.getpixel((at[0] - left, at[1] - top))[0] > 200  # type: ignore[index]


def test_what_lies_outside_the_picture_is_not_drawn() -> None:
    image = Image.new("RGBA", (10, 10), (9, 9, 9, 255))
    assert render(image, plan_warp(image, Pose()), Pose(), 1.0, (-30.0, 50.0), (100, 100)) is None


def block(box: tuple[int, int, int, int], kind: str) -> Layer:
    image = Image.new("RGBA", (box[2] - box[0], box[3] - box[1]), (90, 90, 90, 255))
    return Layer(image, box[0], box[1], kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "kind", "stays"),
    [
        ((0, 0, 20, 20), "distractor", True),
        ((20, 30, 80, 80), "distractor", False),
        ((0, 0, 100, 60), "distractor", False),
        ((30, 30, 45, 70), "other", False),
        ((30, 30, 36, 70), "other", True),
        ((45, 45, 55, 55), "distractor", True),
        ((0, 0, 100, 3), "distractor", False),
    ],
)
def test_the_core_stays_the_core_only_while_it_is_largest_central_and_seen(
    other: tuple[int, int, int, int], kind: str, stays: bool
) -> None:
    core = block((30, 30, 70, 70), "product")
    assert stays_core([core, block(other, kind)], [core], (100, 100), 0.25) is stays


@pytest.mark.parametrize(("seen_px", "stays"), [(0, False), (2, False), (5, False), (8, True), (20, True)])
def test_a_distractor_that_looks_out_by_a_sliver_takes_no_part(seen_px: int, stays: bool) -> None:
    core, other = block((30, 30, 70, 70), "product"), block((70 + seen_px - 20, 40, 70 + seen_px, 60), "distractor")
    assert stays_core([other, core], [core], (100, 100), 0.25) is stays


def test_a_sign_may_not_hide_a_distractor() -> None:
    core, other = block((30, 30, 70, 70), "product"), block((5, 5, 20, 20), "distractor")
    assert stays_core([core, other], [core], (100, 100), 0.25)
    assert not stays_core([core, other, block((0, 0, 25, 25), "other")], [core], (100, 100), 0.25)


def test_a_turned_discs_extent_is_its_diameter() -> None:
    y, x = np.mgrid[0:80, 0:80] + 0.5
    image = Image.new("RGBA", (80, 80), (9, 9, 9, 255))
    image.putalpha(Image.fromarray((255 * ((x - 40) ** 2 + (y - 40) ** 2 < 40**2)).astype(np.uint8)))
    for turn in (0.0, 45.0, 130.0):
        assert plan_warp(image, Pose(rotation_deg=turn)).extent == pytest.approx((-40, -40, 40, 40), abs=1.0)


def test_the_middle_is_zero_off_centre_and_a_corner_one() -> None:
    assert off_centre((40, 40, 60, 60), (100, 100)) == 0
    assert off_centre((100, 100, 100, 100), (100, 100)) == pytest.approx(1)
