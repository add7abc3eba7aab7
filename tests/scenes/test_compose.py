"""Scenes of drawn products: boxes, determinism, roles, presets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog import ConfigError
from models.scenes import PRESETS, Cutout, SceneComposer, SceneConfig, scene_preset

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
