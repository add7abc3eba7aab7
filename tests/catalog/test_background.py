"""Plain and cluttered backgrounds: drawn ones, the demo's own, and real ones where they are at hand."""

from __future__ import annotations

import io
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from catalog import DemoConfig
from catalog.background import background_of, plain_frac
from catalog.demo import render_demo
from catalog.demo.backdrops import backdrop

SIZE = (240, 180)


def plain(colour: tuple[int, int, int] = (250, 250, 250)) -> Image.Image:
    image = Image.new("RGB", SIZE, colour)
    ImageDraw.Draw(image).ellipse((60, 40, 180, 140), fill=(40, 60, 160))
    return image


def noisy(levels: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(-levels, levels + 1, (60, 80, 1))
    return Image.fromarray(np.clip(128 + noise + np.zeros((60, 80, 3)), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 40, 40), (128, 129, 127)])
def test_a_product_on_one_colour_is_clean_whatever_the_colour(colour: tuple[int, int, int]) -> None:
    assert plain_frac(plain(colour)) == 1.0
    assert background_of(plain(colour)) == "clean"


def test_a_product_cut_off_by_the_bottom_edge_is_clean() -> None:
    image = plain()
    ImageDraw.Draw(image).rectangle((70, 60, 170, 180), fill=(30, 30, 30))
    assert 0.7 < plain_frac(image) < 1.0
    assert background_of(image) == "clean"


def test_a_close_up_that_leaves_one_side_white_is_clean() -> None:
    rng = np.random.default_rng(1)
    pixels = np.full((180, 240, 3), 255, dtype=np.uint8)
    pixels[:, 130:] = rng.integers(0, 256, (180, 110, 1))
    assert background_of(Image.fromarray(pixels)) == "clean"


def test_stripes_boxes_and_noise_are_cluttered() -> None:
    striped = Image.fromarray(np.repeat((np.arange(240) // 4 % 2 * 120 + 60)[None, :], 180, 0).astype(np.uint8))
    boxes = Image.new("RGB", SIZE)
    pen, rng = ImageDraw.Draw(boxes), random.Random(2)
    for _ in range(400):
        x, y = rng.randrange(240), rng.randrange(180)
        pen.rectangle((x, y, x + 25, y + 25), fill=tuple(rng.randrange(256) for _ in range(3)))
    for image in (striped, boxes, noisy(40)):
        assert background_of(image) == "cluttered"


def test_texture_of_the_right_colour_is_not_flat() -> None:
    # All within the colours' tolerance: only the steps between neighbours tell cloth from a wall.
    assert background_of(noisy(12)) == "cluttered"
    assert background_of(noisy(0)) == "clean"


def test_a_slow_change_of_light_is_clean_and_a_strong_one_is_not_one_colour() -> None:
    light = np.linspace(0, 1, 240)[None, :, None] * np.ones((180, 1, 3))
    assert background_of(Image.fromarray((235 + 15 * light).astype(np.uint8))) == "clean"
    assert plain_frac(Image.fromarray((255 * light).astype(np.uint8))) < 0.5


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.sampled_from(["RGB", "L", "RGBA", "P"]),
    st.integers(0, 255),
)
def test_any_size_and_mode_has_a_share(size: tuple[int, int], mode: str, level: int) -> None:
    assert plain_frac(Image.new("L", size, level).convert(mode)) == 1.0


def test_a_strip_of_a_pixel_costs_no_memory() -> None:
    assert plain_frac(Image.new("RGB", (1, 60_000), "white")) == 1.0


def test_size_and_compression_hardly_matter() -> None:
    image, buffer = plain().resize((720, 540)), io.BytesIO()
    image.resize((300, 225)).save(buffer, "JPEG", quality=60)
    assert plain_frac(Image.open(buffer)) == pytest.approx(plain_frac(image), abs=0.05)


@pytest.mark.parametrize(("kind", "expected"), [("studio", 10), ("plain", 10), ("cloth", 0), ("carpet", 0), ("bed", 0)])
def test_the_demos_backdrops(kind: str, expected: int) -> None:
    sheets = [np.clip(backdrop(kind, random.Random(seed), 160), 0, 255).astype(np.uint8) for seed in range(10)]
    assert sum(background_of(Image.fromarray(sheet)) == "clean" for sheet in sheets) == expected


def test_the_demos_main_views_are_clean_and_its_shoppers_photos_cluttered(tmp_path: Path) -> None:
    products, queries = render_demo(DemoConfig(num_products=24, image_size_px=96, num_workers=1), str(tmp_path))
    mains = [ref for one in products for ref, role in zip(one.images, one.image_roles, strict=True) if role == "main"]
    taken = [query.image for query in queries if query.image]
    sides = [[background_of(Image.open(tmp_path / ref)) for ref in refs] for refs in (mains, taken)]
    assert sides[0].count("clean") == len(mains) > 15
    assert sides[1].count("cluttered") >= 0.9 * len(taken) > 15


@pytest.mark.real
def test_real_studio_photographs_are_clean_and_real_homes_cluttered() -> None:
    data = Path(os.environ.get("MOON_DATA", ""))
    luma, homes = data / "luma", data / "clothing_photos"
    if not os.environ.get("MOON_DATA") or not luma.is_dir() or not homes.is_dir():
        pytest.skip("no real photographs: set MOON_DATA")
    rows = [json.loads(line) for line in (luma / "products.jsonl").read_text("utf-8").splitlines()[::5]]
    mains = [background_of(Image.open(luma / row["images"][0])) for row in rows]
    rows = [json.loads(line) for line in (homes / "queries.jsonl").read_text("utf-8").splitlines()[::5]]
    taken = [background_of(Image.open(homes / row["image"])) for row in rows]
    assert mains.count("clean") >= 0.98 * len(mains) > 80
    assert taken.count("cluttered") >= 0.85 * len(taken) > 80
