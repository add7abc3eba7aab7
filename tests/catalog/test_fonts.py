"""Chinese in figures, on sheets and on pages."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from catalog import fonts
from catalog.fonts import CSS_FONTS, cjk_family, draws_catalogue_text, has_cjk, picture_font, pieces_of
from models.moe.load_figure import draw_load
from models.regions.gallery_page import PAGE
from models.tokens import TokenType
from tests.catalog.letters import FAMILY, make_font
from validation.data.style import STYLE
from validation.report import RunReport, render_report

ROOT = Path(__file__).parent.parent.parent
TEXT = "红色连衣裙们"


def forget() -> None:
    fonts._cjk_font.cache_clear()
    fonts._warn_once.cache_clear()


@pytest.fixture
def no_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that has matplotlib's own fonts and no other."""
    own = Path(matplotlib.get_data_path())
    entries = [entry for entry in font_manager.fontManager.ttflist if own in Path(entry.fname).parents]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    font_manager.fontManager._findfont_cached.cache_clear()
    forget()
    yield
    forget()


@pytest.fixture
def font(no_font: None, tmp_path: Path) -> str:
    """The same machine with one font for Chinese."""
    font_manager.fontManager.addfont(make_font(tmp_path / "han.ttf", TEXT))
    forget()
    return FAMILY


@draws_catalogue_text
def draw(text: str) -> Figure:
    figure = Figure(figsize=(4, 3), layout="constrained")
    figure.suptitle(text)
    panel = figure.subplots()
    panel.barh([0], [1.0])
    panel.set_yticks([0], [text])
    panel.set_xlabel(f"cosine of {text}")
    panel.annotate(text, (0.5, 0), fontweight="bold")
    return figure


def missing(figure: Figure) -> list[str]:
    """What matplotlib says of letters it has not."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure.savefig(io.BytesIO(), format="png")
    return [str(one.message) for one in told if "missing from font" in str(one.message)]


def test_a_figure_with_chinese_finds_every_letter_once_a_font_is_there(font: str) -> None:
    assert cjk_family() == font
    assert missing(draw(TEXT)) == []


def test_without_a_font_letters_are_missing_and_a_warning_names_the_package_once(
    no_font: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert cjk_family() is None
    with caplog.at_level(logging.WARNING, logger="catalog.fonts"):
        figures = [draw(TEXT), draw(TEXT)]
    assert len(missing(figures[0])) > 0
    assert sum("fonts-noto-cjk" in record.message for record in caplog.records) == 1


def test_english_figures_are_not_warned_of(no_font: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="catalog.fonts"):
        draw("red dress")
    assert not caplog.records


def test_a_figure_of_a_real_font_has_every_letter() -> None:
    forget()
    if cjk_family() is None:
        pytest.skip("no font for Chinese is installed (fc-list :lang=zh is empty)")
    assert missing(draw("红色连衣裙，纯棉 100%")) == []


def test_english_looks_the_same_with_a_font_for_chinese(font: str) -> None:
    ours, plain = io.BytesIO(), io.BytesIO()
    draw("red dress").savefig(ours, format="png")
    draw.__wrapped__("red dress").savefig(plain, format="png")  # type: ignore[attr-defined]
    assert Image.open(ours).tobytes() == Image.open(plain).tobytes()


def test_settings_outside_the_figure_stay(font: str) -> None:
    before = dict(matplotlib.rcParams)
    draw(TEXT)
    assert dict(matplotlib.rcParams) == before


def test_the_figures_of_the_models_take_the_font(font: str) -> None:
    table = torch.zeros(1, len(TokenType), 4, dtype=torch.long)
    table[0, TokenType.TITLE] = 3
    figure = draw_load(table, [TEXT], title=TEXT)
    assert missing(figure) == []


def test_pictures_are_written_on_with_the_font_only_where_it_is_needed(font: str) -> None:
    plain = picture_font(12, ["red dress"])
    chinese = picture_font(12, ["red dress", TEXT])
    assert isinstance(plain, ImageFont.FreeTypeFont)
    assert isinstance(chinese, ImageFont.FreeTypeFont)
    assert plain.getname()[0] != FAMILY
    assert chinese.getname()[0] == FAMILY
    image = Image.new("L", (100, 20), 255)
    ImageDraw.Draw(image).text((0, 0), TEXT, font=chinese, fill=0)
    assert min(image.tobytes()) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red dress", ["red ", "dress"]),
        ("红色 dress裙", ["红", "色 ", "dress", "裙"]),
        ("", []),
        ("コート", ["コ", "ー", "ト"]),
    ],
)
def test_lines_break_after_words_and_chinese_letters(text: str, expected: list[str]) -> None:
    assert pieces_of(text) == expected


@given(st.text(st.sampled_from("ab 红色，裙コ\n"), max_size=20))
def test_breaking_loses_no_letter(text: str) -> None:
    assert "".join(pieces_of(text)) == text.lstrip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("dress", False), ("café ½", False), ("裙", True), ("コート", True), ("한복", True), ("，", True)],
)
def test_chinese_japanese_and_korean_letters_are_told_from_others(text: str, expected: bool) -> None:
    assert has_cjk(text) == expected


@pytest.mark.parametrize("name", ["Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Zen Hei"])
def test_the_fonts_of_pages_name_the_chinese_ones_of_every_system_before_the_last_resort(name: str) -> None:
    families = [family.strip() for family in CSS_FONTS.split(",")]
    assert families.index(name) < families.index("sans-serif") == len(families) - 1


def test_every_page_has_these_fonts_in_its_style() -> None:
    pages = {
        "data checks": STYLE,
        "report": render_report(RunReport("nothing yet", [])),
        "explorer": (ROOT / "serving/explorer.html").read_text(encoding="utf-8"),
        "regions": PAGE.replace("{{ fonts }}", CSS_FONTS),
    }
    assert [name for name, page in pages.items() if CSS_FONTS not in page] == []
    assert [name for name, page in pages.items() if "charset" not in page and name != "data checks"] == []
