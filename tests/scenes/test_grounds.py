"""Backgrounds, cloth and drawn products: forms, ranges, and that no product stays in a hidden photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog import Catalog, ModelError, Photo, Product, StorageError
from models.scenes import Backgrounds, SceneComposer, SceneConfig, catalog_backgrounds, read_backgrounds, scene_sheet
from models.scenes.backgrounds import lit, make_ground, photo_ground, studio
from models.scenes.camera import develop, expose
from models.scenes.fabric import restyle, tinted
from models.scenes.fields import colour, folds, near, noise, quiet
from models.scenes.grounds import FLOORS
from models.scenes.preview import write_scene_sheet
from models.scenes.silhouettes import draw_product, smooth_outline

SEEDS = st.integers(0, 10**6)


@pytest.mark.parametrize(("floor", "bold"), [(floor, bold) for floor, _ in FLOORS for bold in (False, True)])
def test_every_floor_fills_the_picture_with_finite_levels(floor: object, bold: bool) -> None:
    for seed in range(6):
        ground = floor(np.random.default_rng(seed), 40, 70, bold)  # type: ignore[operator]
        assert ground.shape == (40, 70, 3)
        assert np.isfinite(ground).all()
        assert ground.min() > -120
        assert ground.max() < 700
        assert ground.std() > 0.5


@given(SEEDS, st.booleans(), st.booleans(), st.integers(24, 90), st.integers(24, 90))
@settings(max_examples=60, deadline=None)
def test_a_background_has_the_size_asked_for_and_light_keeps_it(
    seed: int, bold: bool, upright: bool, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    ground = make_ground(rng, height, width, bold=bold, upright=upright, photos=None)
    assert ground.shape == (height, width, 3)
    assert np.isfinite(lit(rng, ground)).all()


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_studio_is_pale_and_smooth(seed: int) -> None:
    ground = studio(np.random.default_rng(seed), 60, 80)
    assert np.abs(np.diff(ground, axis=0)).max() < 4
    assert ground.mean() > 90


@given(SEEDS)
def test_colours_are_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for value in (*colour(rng), *quiet(rng), *near(rng, colour(rng), 30)):
        assert 0 <= value <= 255


@given(SEEDS, st.integers(10, 60), st.integers(10, 60))
@settings(max_examples=30, deadline=None)
def test_noise_and_folds_have_the_size_asked_for(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    assert noise(rng, height, width, 5).shape == (height, width)
    light = folds(rng, height, width, 1.0)
    assert light.shape == (height, width)
    assert 0.3 < light.min() <= light.max() < 1.4


def test_flat_cloth_has_no_folds() -> None:
    assert np.ptp(folds(np.random.default_rng(0), 50, 50, 0.0)) < 1e-6


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_drawn_product_touches_all_sides_of_its_picture(seed: int) -> None:
    alpha = np.asarray(draw_product(np.random.default_rng(seed)).image.getchannel("A"))
    assert max(alpha.shape) <= 300
    assert all(line.max() > 0 for line in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
    assert (alpha > 127).mean() > 0.08


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_restyling_changes_colours_and_never_the_outline(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = draw_product(rng).image
    done = restyle(rng, image)
    assert done.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_tinting_moves_the_mean_colour_towards_the_background() -> None:
    image = draw_product(np.random.default_rng(4)).image
    inside = np.asarray(image.getchannel("A")) > 127
    target = np.array([120.0, 130.0, 140.0])
    before = np.abs(np.asarray(image.convert("RGB"))[inside].mean(axis=0) - target).sum()
    after = np.abs(np.asarray(tinted(image, target, 0.8).convert("RGB"))[inside].mean(axis=0) - target).sum()
    assert after < 0.5 * before + 6


def test_cutting_corners_keeps_an_outline_inside_its_hull() -> None:
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=float)
    smooth = smooth_outline(square, 3)
    assert smooth.shape == (32, 2)
    assert smooth.min() >= 0
    assert smooth.max() <= 1
    assert np.linalg.norm(smooth - 0.5, axis=1).max() < np.linalg.norm(square - 0.5, axis=1).max()


def test_the_camera_keeps_the_size_and_a_studio_nearly_the_colours() -> None:
    grey = np.full((40, 60, 3), 128.0, np.float32)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        assert abs(expose(rng, grey, True).mean() - 128) < 60
        assert develop(rng, grey, seed % 2 == 0).size == (60, 40)


def photograph(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (90, 120, 3), dtype=np.uint8))


def test_photographs_of_a_folder_are_read_and_other_files_passed_over(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    photograph(1).save(tmp_path / "a.jpg")
    photograph(2).save(tmp_path / "below" / "b.PNG")
    (tmp_path / "c.jpg").write_bytes(b"broken")
    (tmp_path / "notes.txt").write_text("no picture")
    assert len(read_backgrounds(str(tmp_path))) == 2
    assert len(read_backgrounds(str(tmp_path), max_photos=1)) == 1


def test_a_folder_without_pictures_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no background photograph"):
        read_backgrounds(str(tmp_path))


def test_only_cluttered_photographs_of_a_catalogue_make_backgrounds(tmp_path: Path) -> None:
    photograph(1).save(tmp_path / "clutter.png")
    Image.new("RGB", (90, 90), (250, 250, 250)).save(tmp_path / "plain.png")
    product = Product(product_id="p", group_id="p", images=("clutter.png", "plain.png"))
    found = catalog_backgrounds(Catalog(name="two", products=(product,), root=str(tmp_path)))
    assert len(found) == 1
    assert found.hide_content


def test_no_more_photographs_are_looked_at_than_twenty_for_one_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (90, 90), (250, 250, 250)).save(tmp_path / "plain.png")
    products = tuple(Product(product_id=f"{n}", group_id=f"{n}", images=("plain.png",)) for n in range(70))
    loads = []
    load = Photo.load
    monkeypatch.setattr(Photo, "load", lambda photo, limits: loads.append(photo.ref) or load(photo, limits))
    found = catalog_backgrounds(Catalog(name="plain", products=products, root=str(tmp_path)), max_photos=2)
    assert len(found) == 0
    assert len(loads) == 40


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_tiny_photographs_make_backgrounds_or_are_passed_over(size: tuple[int, int], tmp_path: Path) -> None:
    for hide_content in (False, True):
        photos = Backgrounds((Image.new("RGB", size, (90, 80, 70)),), hide_content)
        for seed in range(8):
            ground = photo_ground(np.random.default_rng(seed), 30, 40, photos)
            assert ground == pytest.approx(np.broadcast_to((90.0, 80.0, 70.0), (30, 40, 3)), abs=1)
    Image.new("RGB", size).save(tmp_path / "tiny.png")
    photograph(1).save(tmp_path / "whole.png")
    assert len(read_backgrounds(str(tmp_path))) == 1


def test_a_photograph_whose_content_is_hidden_keeps_no_large_shape() -> None:
    """Half black, half white: in what is made of it both halves are never seen at their old places and sharp."""
    half = np.zeros((200, 200, 3), np.uint8)
    half[:, 100:] = 255
    photos = Backgrounds((Image.fromarray(half),), hide_content=True)
    for seed in range(20):
        ground = photo_ground(np.random.default_rng(seed), 100, 100, photos)
        assert ground.shape == (100, 100, 3)
        left, right = ground[:, :50].mean(), ground[:, 50:].mean()
        sharpest = np.abs(np.diff(ground[..., 0], axis=1)).max()
        assert abs(left - right) < 200 or sharpest < 60


def test_scenes_use_the_photographs_given_and_others_without_them() -> None:
    cfg = SceneConfig(side_px=80, photo_background_frac=1.0, studio_frac=0, collage_frac=0, whole_frame_frac=0)
    with_photos = SceneComposer((), cfg, Backgrounds((photograph(3),))).scene(1)
    assert with_photos.image.tobytes() != SceneComposer((), cfg).scene(1).image.tobytes()
    empty = SceneComposer((), cfg, Backgrounds(()))
    assert empty.scene(1).image.tobytes() == SceneComposer((), cfg).scene(1).image.tobytes()


def test_a_sheet_shows_every_scene_with_its_box(tmp_path: Path) -> None:
    scenes = [SceneComposer((), SceneConfig(side_px=96, empty_frac=0)).scene(seed) for seed in range(5)]
    sheet = scene_sheet(scenes, columns=3, thumb_px=96)
    assert sheet.size == (300, 200)
    x0, y0, *_ = (int(value) for value in scenes[0].boxes[0].box)
    assert sheet.getpixel((x0, y0)) == (0, 220, 60)
    write_scene_sheet(scenes, str(tmp_path / "sheet.png"), columns=3, thumb_px=96)
    assert Image.open(tmp_path / "sheet.png").size == (300, 200)
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_a_sheet_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_scene_sheet([], str(tmp_path / "absent" / "sheet.png"))
