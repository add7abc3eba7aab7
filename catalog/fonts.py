"""Letters of every shop: which fonts pages and figures may take, so that Chinese does not come out as empty boxes."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from PIL import ImageFont

if TYPE_CHECKING:
    from matplotlib.font_manager import FontEntry

Given = ParamSpec("Given")
Drawn = TypeVar("Drawn")

_log = logging.getLogger(__name__)

CSS_FONTS = (
    "system-ui, Segoe UI, Noto Sans, Noto Sans CJK SC, Noto Sans SC, Source Han Sans SC, PingFang SC, "
    "Hiragino Sans GB, Microsoft YaHei, WenQuanYi Zen Hei, WenQuanYi Micro Hei, sans-serif"
)
"""The `font-family` of every page: Latin letters from the first, Chinese ones from the first that has them, whatever
language the page says it is in. Without quotation marks, which CSS does not need here and templates would escape."""

_KNOWN = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Noto Sans CJK JP",
    "Noto Sans CJK TC",
    "SimHei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
)
"""Families made for simplified Chinese, the best first; others that have its letters come after them."""

_LETTER = "们"
"""Common in simplified Chinese, absent from fonts for Japanese or Latin alone."""
_CJK_RANGES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff01-\uff60"
_CJK = re.compile(f"[{_CJK_RANGES}]")
_PIECE = re.compile(rf"[{_CJK_RANGES}]\s*|[^\s{_CJK_RANGES}]+\s*")


def has_cjk(text: str) -> bool:
    """Whether a text holds Chinese, Japanese or Korean letters."""
    return _CJK.search(text) is not None


def pieces_of(text: str) -> list[str]:
    """Where a line may be broken: after each word and, in Chinese, after each letter; blanks stay at the ends."""
    return _PIECE.findall(text)


@functools.cache
def _cjk_font() -> FontEntry | None:
    from matplotlib import font_manager

    by_name: dict[str, FontEntry] = {}
    for entry in font_manager.fontManager.ttflist:
        by_name.setdefault(entry.name, entry)
    order = [name for name in _KNOWN if name in by_name]
    order += sorted(name for name in by_name if name not in _KNOWN)
    return next((by_name[name] for name in order if _has_letter(by_name[name])), None)


def cjk_family() -> str | None:
    """The installed font family for Chinese that matplotlib knows; None where there is none. Looked for once."""
    entry = _cjk_font()
    return entry.name if entry is not None else None


def picture_font(size: float, texts: Iterable[str]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font to write on a picture with: Pillow's own, unless one of the texts needs Chinese letters.

    Args:
        size: Pixels.
        texts: What will be written.
    """
    if any(map(has_cjk, texts)):
        entry = _cjk_font()
        if entry is not None:
            return ImageFont.truetype(entry.fname, size, index=entry.index)
        _warn_once()
    return ImageFont.load_default(size=size)


def figure_families(families: list[str]) -> list[str]:
    """A list of font families, with the one for Chinese behind those it has."""
    family = cjk_family()
    return [*families, family] if family is not None and family not in families else families


def draws_catalogue_text(draw: Callable[Given, Drawn]) -> Callable[Given, Drawn]:
    """Let a function that makes a matplotlib figure find letters for Chinese; settings elsewhere stay as they are.

    Where a returned figure holds such text and no font has it, a warning says which package brings one.
    """

    @functools.wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Drawn:
        import matplotlib

        families = figure_families(list(matplotlib.rcParams["font.family"]))
        with matplotlib.rc_context({"font.family": families}):
            figure = draw(*args, **kwargs)
        if cjk_family() is None:
            _tell_of_boxes(figure)
        return figure

    return drawn


def _has_letter(entry: FontEntry) -> bool:
    from matplotlib.ft2font import FT2Font

    # This one has a box for every letter there is.
    if entry.name.startswith("Last Resort"):
        return False
    try:
        return FT2Font(entry.fname, face_index=entry.index).get_char_index(ord(_LETTER)) != 0
    except (OSError, RuntimeError):
        return False


def _tell_of_boxes(figure: object) -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    if isinstance(figure, Figure) and any(has_cjk(text.get_text()) for text in figure.findobj(Text)):
        _warn_once()


@functools.cache
def _warn_once() -> None:
    _log.warning(
        "figures show empty boxes for Chinese: no installed font has its letters. The package fonts-noto-cjk (Debian, "
        "Ubuntu), google-noto-sans-cjk-fonts (Fedora) or font-noto-cjk (Alpine, Homebrew) brings one; then remove "
        "matplotlib's list of fonts, fontlist-*.json in the folder that matplotlib.get_cachedir() names"
    )
