from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from benchmarks.regions.__main__ import app
from benchmarks.regions.cluttered import surroundings
from benchmarks.regions.pictures import read_data
from tests.regions.pictures import background, with_rectangle

_NUM_PRODUCTS = 4


def _studio(colour: tuple[int, int, int], turned: bool) -> bytes:
    """A mug on white, its handle on either side."""
    image = Image.new("RGB", (120, 140), "white")
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((35, 30, 85, 115), 8, fill=colour)
    pen.ellipse((15, 50, 55, 90) if turned else (65, 50, 105, 90), outline=colour, width=9)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(_NUM_PRODUCTS):
        for role in ("main", "back"):
            colour = (40 + 50 * number, 20, 200 - 40 * number)
            (folder / "images" / f"{number}_{role}.png").write_bytes(_studio(colour, role == "back"))
        images = [f"images/{number}_{role}.png" for role in ("main", "back")]
        rows.append(
            {"product_id": f"p{number}", "title": f"Mug {number}", "images": images, "image_roles": ["main", "back"]}
        )
    (folder / "products.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    folder = tmp_path / "homes"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(3):
        picture = with_rectangle(background("noise", (200, 240), number), (70, 80, 130, 170))
        picture.save(folder / "images" / f"{number}.png")
        rows.append({"query_id": str(number), "type": "photo_label", "image": f"images/{number}.png", "label": "rug"})
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_the_asking_photograph_leaves_its_product_and_comes_back_cluttered(
    shop: Path, homes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cluttered"
    asked = ["clutter", str(shop), str(out), "--backgrounds", str(homes), "--scenes", "2"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    made = read_data(out)
    assert [product.images for product in made.products] == [(f"images/{n}_main.png",) for n in range(_NUM_PRODUCTS)]
    assert len(made.queries) == 2 * _NUM_PRODUCTS
    for query in made.queries:
        assert query.augmented
        assert query.image is not None
        assert query.box is not None
        (product_id,) = query.product_ids
        pixels = np.asarray(made.photo(query.image).load().convert("RGB"), dtype=float)
        number = int(product_id[1:])
        own = np.array((40 + 50 * number, 20, 200 - 40 * number))
        near = np.linalg.norm(pixels / pixels.sum(axis=2, keepdims=True).clip(1) - own / own.sum(), axis=2) < 0.15
        x0, y0, x1, y1 = (int(value) for value in query.box)
        inside = near[y0:y1, x0:x1]
        outside = (near.sum() - inside.sum()) / max(near.size - inside.size, 1)
        assert inside.mean() > 2 * outside, "the box holds the product's colour"
    first = {path.name: path.read_bytes() for path in (out / "images").iterdir()}
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert {path.name: path.read_bytes() for path in (out / "images").iterdir()} == first


def test_a_shop_without_second_photographs_is_refused(homes: Path, shop: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (shop / "products.jsonl").read_text().splitlines()]
    for row in rows:
        row["images"], row["image_roles"] = row["images"][:1], ["main"]
    (shop / "products.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = CliRunner().invoke(app, ["clutter", str(shop), str(tmp_path / "out"), "--backgrounds", str(homes)])
    assert done.exit_code == 1
    assert "no product has a second photograph" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_product_that_would_keep_the_asking_photograph_is_not_asked_for(
    shop: Path, homes: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (shop / "products.jsonl").read_text().splitlines()]
    rows[0]["images"], rows[0]["image_roles"] = rows[0]["images"][1:], ["back"]
    (shop / "products.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["clutter", str(shop), str(out), "--backgrounds", str(homes), "--scenes", "1"])
    assert done.exit_code == 0, done.output
    made = read_data(out)
    assert {query.product_ids for query in made.queries} == {("p1",), ("p2",), ("p3",)}
    assert made.products[0].images == ("images/0_back.png",)


def test_surroundings_hold_no_product() -> None:
    colour = (190, 30, 40)
    photos = [with_rectangle(background("noise", (200, 240), seed), (70, 80, 130, 170), colour) for seed in range(3)]
    filled = with_rectangle(background("plain", (200, 240)), (6, 6, 194, 234), colour)
    grounds = surroundings([*photos, filled])
    assert len(grounds) == 3, "a photograph without room beside its product gives none"
    for ground in grounds.photos:
        assert ground.size == (384, 384)
        assert not (np.abs(np.asarray(ground, dtype=int) - colour).sum(axis=2) < 30).any()
