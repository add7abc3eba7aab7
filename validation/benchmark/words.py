"""Words of a text, the same for every rule here that compares words."""

from __future__ import annotations

import re
from collections.abc import Iterator

_RUNS = re.compile(r"[^\W_]+")
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
"""Kana and Han have no spaces; Hangul has, but particles stick to its words."""
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_PIECES = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """Split `text` into comparable words, in order, repeats kept.

    Case and plain English plurals are folded. Scripts written without spaces give their characters
    and pairs of neighbouring characters, since nothing marks their words.

    Source: D. Harman, How effective is suffixing?, JASIS 42(1), 1991 (the S-stemmer). Deviation: dresses and hoodies,
        which shops sell, meet dress and hoodie.
    """
    found: list[str] = []
    for piece in _pieces(text):
        found += [*piece, *_pairs(piece)] if _IS_UNSPACED.match(piece) else [_singular(piece)]
    return found


def telling_words(text: str) -> list[str]:
    """The words of `text` that name it when one of them is found in another text by `words_of`.

    In scripts without spaces pairs of characters do, and a character that stands alone; one character of a longer run
    does not: 红色 is not named by every title that has 红 or 色 in another word.
    """
    found: list[str] = []
    for piece in _pieces(text):
        found += (_pairs(piece) or [piece]) if _IS_UNSPACED.match(piece) else [_singular(piece)]
    return found


def _pieces(text: str) -> Iterator[str]:
    """Runs of letters and digits, divided where a script without spaces begins or ends."""
    for run in _RUNS.findall(text.casefold()):
        yield from _PIECES.findall(run)


def _pairs(piece: str) -> list[str]:
    return [piece[i : i + 2] for i in range(len(piece) - 1)]


def _singular(word: str) -> str:
    if len(word) <= 3:
        return word
    if word.endswith(("sses", "ches", "shes", "xes", "zes")):
        return word[:-2]
    if word.endswith(("ies", "ie")):
        return word.removesuffix("s")[:-2] + "y"
    if word.endswith(("us", "ss")) or not word.endswith("s"):
        return word
    return word[:-1]
