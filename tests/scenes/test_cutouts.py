"""Cut-outs against true masks, and the photographs that give none."""

from __future__ import annotations

import builtins
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catalog import Catalog, ModelError, Product, decode_image
from catalog.config import SplitConfig
from catalog.splits import Side, split_catalog
from models.scenes import CutoutSet, NotCutError, cut_catalog, cut_out
from models.scenes.cutouts import mirrored
from models.scenes.masks import clean_mask
from models.scenes.segmentation import fit_ground, segment
from tests.scenes.shots import demo_shots, disc, studio_photo

pytest.importorskip("cv2", reason="cutting out needs OpenCV")


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_rendered_products_are_cut_along_their_true_masks() -> None:
    found = []
    for image, truth in demo_shots(40):
        try:
            found.append(overlap(segment(image).mask, truth))
        except NotCutError:
            continue
    assert len(found) >= 34
    assert np.median(found) >= 0.95
    assert np.mean(np.array(found) >= 0.8) >= 0.85


def test_a_disc_is_cut_to_the_pixel_and_its_edge_keeps_its_colour() -> None:
    mask = disc()
    image, cut_sides = cut_out(studio_photo(mask, (180, 30, 40)))
    assert cut_sides == ()
    alpha = np.asarray(image.getchannel("A"))
    assert abs(int((alpha > 127).sum()) - int(mask.sum())) < 0.04 * mask.sum()
    soft = (alpha > 20) & (alpha < 235)
    assert soft.any()
    # Mixed with the white behind it, the edge would be pink.
    assert np.abs(np.asarray(image.convert("RGB"))[soft].mean(axis=0) - (180, 30, 40)).max() < 12


def test_the_gap_behind_a_handle_is_open_and_a_print_is_not() -> None:
    ring = disc(radius_px=60) & ~disc(radius_px=46)
    body = disc(radius_px=60).copy()
    printed = disc(radius_px=14)
    open_mask = segment(studio_photo(ring, (40, 80, 160))).mask
    assert not open_mask[80, 80]
    closed_mask = segment(studio_photo(body & ~printed, (40, 80, 160))).mask
    assert closed_mask[80, 80]


def test_a_shadow_is_not_part_of_the_product() -> None:
    mask = disc(radius_px=36, centre=(75, 70))
    y, x = np.mgrid[0:160, 0:160]
    fall = 0.35 * np.exp(-(((x - 92) / 42) ** 2 + ((y - 96) / 30) ** 2))
    pixels = np.asarray(studio_photo(mask, (30, 120, 60)), np.float64)
    shaded = np.where(mask[..., None], pixels, pixels * (1 - fall)[..., None])
    assert overlap(segment(Image.fromarray(shaded.astype(np.uint8))).mask, mask) > 0.93


@pytest.mark.parametrize(
    ("centre", "sides"),
    [((80, 150), ("bottom",)), ((80, 6), ("top",)), ((4, 80), ("left",)), ((156, 80), ("right",)), ((80, 80), ())],
)
def test_sides_that_the_photograph_cuts_are_named(centre: tuple[int, int], sides: tuple[str, ...]) -> None:
    _, cut_sides = cut_out(studio_photo(disc(radius_px=40, centre=centre), (20, 20, 120)))
    assert cut_sides == sides


def test_badges_in_the_corner_are_left_out() -> None:
    mask = disc(radius_px=40, centre=(80, 95))
    pixels = np.array(studio_photo(mask, (60, 120, 60)))
    pixels[4:24, 4:44] = (220, 20, 30)
    assert overlap(segment(Image.fromarray(pixels)).mask, mask) > 0.95


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)), "not plain"),
        (studio_photo(np.zeros((120, 120), bool), (0, 0, 0)), "stands out|covers 0"),
        (studio_photo(disc(radius_px=7), (90, 20, 20)), "covers 0.|covers 1."),
        (studio_photo(disc(200, 12), (200, 20, 20)).resize((20, 200)), "under 24 pixels"),
        (studio_photo(disc(radius_px=90), (60, 20, 120)), "cut by 4 sides|covers 9"),
    ],
)
def test_photographs_that_give_no_cut_out_are_refused_with_the_reason(image: Image.Image, reason: str) -> None:
    with pytest.raises(NotCutError, match=reason):
        cut_out(image)


def test_a_badge_nearly_as_large_as_the_product_is_left_out() -> None:
    product = np.zeros((160, 160), bool)
    product[40:120, 72:90] = True
    image = studio_photo(product | disc(160, 18, (138, 22)), (20, 30, 90))
    assert overlap(segment(image).mask, product) > 0.93


def test_sleeves_whose_shirt_is_lost_are_refused_and_two_shoes_are_not() -> None:
    sleeves = np.zeros((160, 160), bool)
    sleeves[40:120, 20:36] = sleeves[40:120, 124:140] = True
    with pytest.raises(NotCutError, match="in pieces"):
        cut_out(studio_photo(sleeves, (30, 130, 60)))
    cut_out(studio_photo(disc(160, 25, (50, 80)) | disc(160, 25, (112, 80)), (30, 130, 60)))


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (20000, 1), (20000, 40)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_pictures_of_any_form_are_refused_and_never_crash(size: tuple[int, int], mode: str) -> None:
    with pytest.raises(NotCutError):
        cut_out(Image.new(mode, size))


def test_words_that_decide_how_a_product_is_shown_are_in_the_digest(tmp_path: Path) -> None:
    found = cut_catalog(shop(tmp_path, 1))
    (disc_cutout,) = found.cutouts
    for change in ({"title": "Shirt"}, {"category": ("Shoes",)}, {"group_id": "other"}):
        assert CutoutSet((replace(disc_cutout, **change),)).digest != found.digest


def test_a_smooth_shadow_alone_is_no_product() -> None:
    y, x = np.mgrid[0:160, 0:160]
    fall = 0.25 * np.exp(-(((x - 80) / 35) ** 2 + ((y - 80) / 25) ** 2))
    with pytest.raises(NotCutError):
        cut_out(Image.fromarray((245 * (1 - fall)[..., None] * np.ones(3)).astype(np.uint8)))


def test_the_background_surface_follows_a_fall_of_light() -> None:
    y, x = np.mgrid[-1:1:120j, -1:1:100j]
    light = 235 - 12 * x - 9 * y - 6 * x * y
    pixels = np.repeat(light[..., None], 3, axis=2)
    pixels[40:80, 30:70] = (20, 90, 40)
    assert np.abs(fit_ground(pixels.astype(np.uint8)) - light[..., None]).max() < 3


def test_cleaning_keeps_two_shoes_and_drops_dust() -> None:
    mask = disc(160, 25, (45, 80)) | disc(160, 25, (115, 80))
    dusty = mask.copy()
    dusty[10:13, 10:13] = True
    assert np.array_equal(clean_mask(dusty, ~dusty), clean_mask(mask, ~mask))
    assert clean_mask(mask, ~mask).sum() > 0.97 * mask.sum()


def test_a_mirrored_cut_out_mirrors_its_cut_sides(tmp_path: Path) -> None:
    cutout = cut_catalog(shop(tmp_path, 1)).cutouts[0]
    twice = mirrored(mirrored(cutout))
    assert twice.image.tobytes() == cutout.image.tobytes()
    assert twice.cut_sides == cutout.cut_sides


def shop(folder: Path, num_products: int) -> Catalog:
    """A few red discs, each with the same cluttered second photograph."""
    products = []
    clutter = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    for number in range(num_products):
        names = (f"{number}-a.png", f"{number}-b.png")
        studio_photo(disc(radius_px=30 + number), (180, 30, 40 + 5 * number)).save(folder / names[0])
        clutter.save(folder / names[1])
        products.append(Product(product_id=f"p{number}", group_id=f"g{number // 2}", title="Disc", images=names))
    return Catalog(name="discs", products=tuple(products), root=str(folder))


def test_a_catalogue_gives_cut_outs_and_says_what_it_refused(tmp_path: Path) -> None:
    found = cut_catalog(shop(tmp_path, 6), num_workers=2)
    assert {cutout.product_id for cutout in found.cutouts} == {f"p{number}" for number in range(6)}
    assert len(found.refused) == 6
    assert {row.reason for row in found.refused} == {"background is not plain"}
    assert {row.where[-6:] for row in found.refused} == {"-b.png"}


def test_more_cut_outs_begin_with_the_fewer_and_threads_do_not_matter(tmp_path: Path) -> None:
    catalog = shop(tmp_path, 6)
    few, all_of_them = cut_catalog(catalog, max_cutouts=3), cut_catalog(catalog, num_workers=3)
    assert [cutout.ref for cutout in few.cutouts] == [cutout.ref for cutout in all_of_them.cutouts[:3]]
    assert all_of_them.digest == cut_catalog(catalog, num_workers=1).digest
    assert few.digest != all_of_them.digest


def test_sides_of_the_split_never_share_a_group(tmp_path: Path) -> None:
    catalog = shop(tmp_path, 12)
    splits = split_catalog(catalog, SplitConfig(test_frac=0.4, val_frac=0.1))
    found = cut_catalog(catalog)
    sides = [found.side(side, splits) for side in Side]
    assert sum(len(part) for part in sides) == len(found)
    groups = [{cutout.group_id for cutout in part.cutouts} for part in sides]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_a_broken_file_is_refused_and_the_others_are_cut(tmp_path: Path) -> None:
    catalog = shop(tmp_path, 2)
    (tmp_path / "0-a.png").write_bytes(b"no picture")
    found = cut_catalog(catalog)
    assert [cutout.product_id for cutout in found.cutouts] == ["p1"]
    assert "file is not a picture" in {row.reason for row in found.refused}


def test_without_opencv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real_import = builtins.__import__

    def hiding(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "cv2":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", hiding)
    with pytest.raises(ModelError, match="pip install opencv-python"):
        cut_catalog(shop(tmp_path, 1))


def test_a_photograph_with_alpha_is_cut_as_it_is_shown() -> None:
    buffer = io.BytesIO()
    layer = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    layer.paste((20, 60, 140, 255), (40, 30, 120, 130))
    layer.save(buffer, "PNG")
    image, _ = cut_out(decode_image(buffer.getvalue(), "alpha.png"))
    assert abs(image.width - 80) <= 3
    assert abs(image.height - 100) <= 3
