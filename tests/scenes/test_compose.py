"""Scenes of drawn products: boxes, determinism, roles, presets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog import ConfigError
from models.regions.saliency_maps import lab_pixels
from models.scenes import PRESETS, Cutout, SceneComposer, SceneConfig, figures, scene_preset
from models.scenes.contrast import away_from, outline_contrast

SEEDS = st.integers(0, 2**31)


def composer(preset: str = "mixed", side_px: int = 96) -> SceneComposer:
    return SceneComposer((), scene_preset(preset, side_px=side_px))


@given(SEEDS, st.sampled_from(sorted(PRESETS)))
@settings(max_examples=60, deadline=None)
def test_boxes_lie_inside_the_picture_and_hold_exactly_their_masks(seed: int, preset: str) -> None:
    scene = composer(preset).scene(seed)
    width, height = scene.image.size
    assert max(width, height) == 96
    assert [item.role for item in scene.boxes[1:]] == ["distractor"] * len(scene.boxes[1:])
    for item, mask in zip(scene.boxes, scene.masks, strict=True):
        pixels = [(x, y) for y in range(height) for x in range(width) if mask[y, x]]
        xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
        assert item.box == (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
        assert 0 <= item.box[0] < item.box[2] <= width
        assert 0 <= item.box[1] < item.box[3] <= height


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_a_seed_gives_the_same_scene_from_any_composer(seed: int) -> None:
    first, second = composer().scene(seed), composer().scene(seed)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.boxes == second.boxes


def test_other_seeds_and_other_configurations_give_other_scenes() -> None:
    base = composer().scene(5).image.tobytes()
    assert composer().scene(6).image.tobytes() != base
    assert SceneComposer((), SceneConfig(side_px=96, seed=1)).scene(5).image.tobytes() != base


def test_one_product_shows_one_product_and_nothing_else_for_sale() -> None:
    for seed in range(40):
        assert [item.role for item in composer("one_product").scene(seed).boxes] == ["product"]


def test_the_core_is_larger_than_every_distractor_and_comes_first() -> None:
    counts = []
    for seed in range(60):
        scene = composer("distractors").scene(seed)
        assert scene.core is scene.boxes[0]
        core = int(scene.masks[0].sum())
        assert all(int(mask.sum()) <= core for mask in scene.masks[1:])
        counts.append(len(scene.boxes) - 1)
    assert np.mean(np.array(counts) > 0) > 0.8


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean hard"):
        scene_preset("hardd")


def test_a_given_core_is_what_the_scene_is_of() -> None:
    given_core = Cutout(image=Image.new("RGBA", (40, 60), (200, 30, 30, 255)), product_id="p", group_id="p", title="it")
    cfg = scene_preset("distractors", side_px=96)
    for seed in range(10):
        core = SceneComposer((), cfg).scene(seed, given_core).core
        assert core is not None
        assert core.name == "it"


def cutout(name: str, group: str) -> Cutout:
    return Cutout(image=Image.new("RGBA", (40, 60), (200, 30, 30, 255)), product_id=name, group_id=group, title=name)


def test_no_distractor_is_a_variant_of_the_core() -> None:
    """It would be a second right answer."""
    cfg = scene_preset("distractors", side_px=96, drawn_frac=0.0)
    shop = [cutout("red", "a"), cutout("blue", "a"), cutout("other", "b")]
    for seed in range(12):
        names = {item.name for item in SceneComposer(shop, cfg).scene(seed, shop[0]).boxes[1:]}
        assert names == {"other"}
        alone = {item.name for item in SceneComposer(shop[:2], cfg).scene(seed, shop[0]).boxes[1:]}
        assert not alone & {"red", "blue"}


def test_what_a_sign_hides_is_in_no_box(monkeypatch: pytest.MonkeyPatch) -> None:
    def lower_rim(rng: np.random.Generator, size_px: tuple[int, int], product: object) -> Image.Image:
        layer = Image.new("RGBA", size_px)
        layer.paste((0, 0, 0, 255), (0, round(0.8 * size_px[1]), *size_px))
        return layer

    monkeypatch.setattr(figures, "sign", lower_rim)
    cfg = scene_preset("distractors", side_px=96, sign_frac=1.0, max_occluded_frac=0.6)
    printed = 0
    for seed in range(12):
        scene = SceneComposer((), cfg).scene(seed)
        black = np.asarray(scene.image, dtype=int)[-8:].max() < 90
        printed += black
        if black:
            assert all(item.box[3] <= round(0.8 * scene.image.height) for item in scene.boxes)
    assert printed > 3


def test_a_person_sees_where_the_product_of_a_hard_scene_ends() -> None:
    contrasts = []
    for seed in range(50):
        scene = composer("hard", 160).scene(seed)
        contrasts.append(outline_contrast(np.asarray(scene.image), scene.masks[0]))
    assert np.quantile(contrasts, 0.04) > 9.0


def test_the_contrast_of_an_outline_is_the_distance_of_its_two_colours() -> None:
    pixels = np.full((80, 80, 3), 90.0)
    mask = np.zeros((80, 80), bool)
    mask[20:60, 30:60] = True
    pixels[mask] = (140, 90, 90)
    both = lab_pixels(np.array([[(90, 90, 90), (140, 90, 90)]], np.uint8))
    assert outline_contrast(pixels, mask) == pytest.approx(np.linalg.norm(both[0, 0] - both[0, 1]), rel=0.01)
    assert outline_contrast(np.full((80, 80, 3), 90.0), mask) == pytest.approx(0, abs=1e-3)
    assert outline_contrast(pixels, ~(mask | ~mask)) == 0
    assert outline_contrast(pixels, mask | ~mask) == np.inf


@pytest.mark.parametrize("level", [0.0, 90.0, 127.0, 128.0, 200.0, 255.0])
def test_a_colour_away_from_the_ground_is_a_level_that_stands_out(level: float) -> None:
    away = away_from(np.full(3, level))
    assert ((away >= 0) & (away <= 255)).all()
    assert np.abs(away - level).min() > 100


def test_the_core_may_fill_no_less_than_the_smallest_area() -> None:
    """Turned by any angle: its own extent counts, not that of its picture's corners."""
    cfg = scene_preset("one_product", side_px=128, min_area_frac=0.2, max_area_frac=0.21, crop_frac=0, pair_frac=0)
    quiet = cfg.model_copy(update={"occluded_frac": 0.0, "sign_frac": 0.0, "whole_frame_frac": 0.0})
    shares = []
    for seed in range(60):
        scene = SceneComposer((), quiet).scene(seed)
        x0, y0, x1, y1 = scene.boxes[0].box
        shares.append((x1 - x0) * (y1 - y0) / (scene.image.width * scene.image.height))
    # One that is very long finds no room for its area.
    assert np.quantile(shares, 0.05) > 0.19
