from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from catalog import Catalog, StorageError
from catalog.fonts import CSS_FONTS
from models.regions import (
    Candidate,
    ChooserConfig,
    CoreRegions,
    RegionsConfig,
    Wanted,
    make_chooser,
    make_detector,
    render_gallery,
)
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
    drawn = "".join(_cards(page))
    assert drawn.count('class="core"') == 2
    assert drawn.count('class="true"') == 1
    assert 'class="candidate"' in drawn
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


def test_a_photograph_that_no_store_knows_is_looked_at_once(tmp_path: Path) -> None:
    class Counting(Fixed):
        num_asked = 0

        def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
            self.num_asked += len(images)
            return super().detect(images, wanted)

    detector = Counting({40: [Candidate((10, 10, 30, 30), 0.9)]})
    catalog = catalog_of(tmp_path, {f"{index}.png": background("noise", (40, 40), index) for index in range(3)})
    assert render_gallery(catalog, CoreRegions(detector, make_chooser(RegionsConfig())), tmp_path / "g.html") == 3
    assert detector.num_asked == 3


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


def test_a_failed_write_leaves_nothing_half_written(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(StorageError, match="No space left"):
        render_gallery(shop, _regions(), tmp_path / "page" / "g.html")
    assert list((tmp_path / "page").iterdir()) == []


def _cards(page: str) -> list[str]:
    return page.split("<figure ")[1:]


class Fixed:
    """Answers by the picture's width."""

    digest = "fixed"

    def __init__(self, by_width: dict[int, list[Candidate]]) -> None:
        self.by_width = by_width

    def prompt(self, wanted: Wanted) -> str:
        return ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        return [self.by_width[image.width] for image in images]


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Catalog, CoreRegions]:
    """Photographs 100 to 105 px wide: a good box, a missed one, a half missed one, two without truth, a query."""
    pictures = {f"{width}.png": background("noise", (width, 100), width) for width in range(100, 106)}
    catalog = catalog_of(tmp_path / "shop", pictures, query_ref="105.png")
    truth = {"100.png": (10, 10, 60, 60), "101.png": (50, 50, 90, 90), "102.png": (10, 10, 80, 80)}
    products = [row.model_copy(update={"boxes": (truth.get(row.images[0]),)}) for row in catalog.products]
    detector = Fixed(
        {
            100: [Candidate((10, 10, 60, 60), 0.9), Candidate((11, 12, 40, 40), 0.3, "detail", 0.25)],
            101: [Candidate((5, 5, 40, 40), 0.8)],
            102: [Candidate((10, 10, 50, 50), 0.7)],
            103: [Candidate((10, 10, 60, 60), 0.6)],
            104: [Candidate((10, 10, 60, 60), 0.1)],
            105: [Candidate((10, 10, 60, 60), 0.5)],
        }
    )
    regions = CoreRegions(detector, make_chooser(RegionsConfig(chooser=ChooserConfig(padding_frac=0.0))))
    return replace(catalog, products=tuple(products)), regions


def test_failures_come_first_then_the_least_sure_then_what_is_right(
    judged: tuple[Catalog, CoreRegions], tmp_path: Path
) -> None:
    render_gallery(*judged, tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text()
    order = [re.search(r"(\d+)\.png", card).group(1) for card in _cards(page)]  # type: ignore[union-attr]
    assert order == ["101", "102", "104", "105", "103", "100"]


def test_cards_are_marked_for_the_filters_and_counted(judged: tuple[Catalog, CoreRegions], tmp_path: Path) -> None:
    render_gallery(*judged, tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text()
    classes = [re.match(r'class="([^"]*)"', card).group(1) for card in _cards(page)]  # type: ignore[union-attr]
    assert classes == ["product failed", "product failed", "product whole", "query", "product", "product"]
    for text in ("all (6)", "of products (5)", "of shoppers (1)", "the whole picture (1)", "a crop (5)"):
        assert f">{text}</label>" in page
    assert ">not the true box (2)</label>" in page
    for name in re.findall(r'id="((?:kind|kept)-(?!all|any)\w+)"', page):
        assert f"#{name}:checked" in page, "every choice has its rule"
    assert "In 1 the whole picture was kept" in " ".join(page.split())


def test_the_histograms_count_every_card_once(judged: tuple[Catalog, CoreRegions], tmp_path: Path) -> None:
    render_gallery(*judged, tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text()
    charts = page.split('class="chart"')[1:]
    assert [chart[1:].split("\n")[0] for chart in charts] == ["IoU with the true box", "Score of the chosen region"]
    counts = [sum(int(value) for value in re.findall(r'middle">(\d+)</text>', chart)) for chart in charts]
    assert counts == [3, 6]
    assert len(re.findall(r'<rect class="bar low"', charts[0])) == 5, "tenths below one half"
    assert len(re.findall(r'<rect class="bar', charts[1].split("</svg>")[0])) == 10


def test_candidates_tell_label_and_agreement_and_numbers_do_not_overlap(
    judged: tuple[Catalog, CoreRegions], tmp_path: Path
) -> None:
    render_gallery(*judged, tmp_path / "g.html")
    card = next(card for card in _cards((tmp_path / "g.html").read_text()) if "100.png" in card)
    assert "<title>detail, score 0.30, agreement 0.25</title>" in card
    assert "<title>score 0.90</title>" in card
    assert re.findall(r'class="number"[^>]*>([\d.]+)<', card) == ["0.90"], "the second corner is too near"


def test_a_small_photograph_is_shown_as_large_as_the_others(
    judged: tuple[Catalog, CoreRegions], tmp_path: Path
) -> None:
    render_gallery(*judged, tmp_path / "g.html")
    assert 'viewBox="0 0 105 100" width="240" height="229"' in (tmp_path / "g.html").read_text()


def test_a_page_without_truth_or_queries_offers_no_choice_that_is_none(tmp_path: Path) -> None:
    pictures = {f"{index}.png": background("noise", (40, 40), index) for index in range(3)}
    render_gallery(catalog_of(tmp_path, pictures), _regions(), tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text()
    assert "true box" not in page.split("</style>")[1]
    assert 'name="kind"' not in page
    assert page.count('class="chart"') == 1
