from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import Catalog, StorageError
from catalog.fonts import CSS_FONTS
from models.regions import CoreRegions, RegionsConfig, make_chooser, make_detector, render_gallery
from tests.regions.pictures import background, catalog_of, with_rectangle


@pytest.fixture
def shop(tmp_path: Path) -> Catalog:
    box = (20, 20, 60, 60)
    pictures = {
        "images/found.png": with_rectangle(background("plain", (120, 90)), box),
        "images/plain.png": background("plain", (400, 300)),
        "images/broken.png": b"not a picture",
    }
    catalog = catalog_of(tmp_path / "shop", pictures)
    first = catalog.products[0].model_copy(update={"title": "<script>alert(1)</script>", "boxes": (box,)})
    return replace(catalog, products=(first, *catalog.products[1:]))


def _regions() -> CoreRegions:
    cfg = RegionsConfig()
    return CoreRegions(make_detector(cfg), make_chooser(cfg))


def test_gallery_is_one_page_least_sure_first(shop: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "new" / "gallery.html"
    assert render_gallery(shop, _regions(), out) == 2
    page = out.read_text()
    assert page.index("images/plain.png") < page.index("images/found.png")
    assert "images/broken.png" not in page
    assert "whole picture: no candidate" in page
    assert page.count('class="core"') == 2
    assert page.count('class="true"') == 1
    assert 'class="candidate"' in page
    assert re.search(r"Mean IoU with the true box [01]\.\d{3} over\s+1 ", page)
    assert not re.search(r"(src|href)=\"(?!data:)", page), "nothing is loaded from elsewhere"


def test_titles_are_escaped(shop: Catalog, tmp_path: Path) -> None:
    render_gallery(shop, _regions(), tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_names_fonts_for_chinese_titles(shop: Catalog, tmp_path: Path) -> None:
    render_gallery(shop, _regions(), tmp_path / "g.html")
    assert f"font: 14px/1.4 {CSS_FONTS};" in (tmp_path / "g.html").read_text()


def test_boxes_are_drawn_at_the_thumbnails_scale(shop: Catalog, tmp_path: Path) -> None:
    render_gallery(shop, _regions(), tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text()
    # 400 x 300 px is shown at 240 x 180: the whole picture's box must be exactly that.
    assert 'class="core" x="0.0" y="0.0" width="240.0" height="180.0"' in page
    assert 'class="true" x="20.0" y="20.0" width="40.0" height="40.0"' in page


def test_no_more_images_than_asked(tmp_path: Path) -> None:
    pictures = {f"{index}.png": background("noise", (40, 40), index) for index in range(9)}
    assert render_gallery(catalog_of(tmp_path, pictures), _regions(), tmp_path / "g.html", max_images=4) == 4


def test_unwritable_output_is_told(shop: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="gallery"):
        render_gallery(shop, _regions(), tmp_path / "file" / "g.html")
