"""Words of a text, the same for every rule here that compares words."""

from __future__ import annotations

import re

_RUNS = re.compile(r"[^\W_]+")
_CJK = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿가-힯]+|[^぀-ヿ㐀-䶿一-鿿豈-﫿가-힯]+")


def words_of(text: str) -> list[str]:
    """Split `text` into comparable words, in order, repeats kept.

    Case and plain English plurals are folded (the S-stemmer). Scripts written without spaces give their characters
    and pairs of neighbouring characters, since nothing marks their words.

    Source: D. Harman, How effective is suffixing?, JASIS 42(1), 1991, for the S-stemmer.
    """
    found: list[str] = []
    for run in _RUNS.findall(text.casefold()):
        for piece in _CJK.findall(run):
            if _CJK_FIRST.match(piece):
                found += list(piece)
                found += [piece[i : i + 2] for i in range(len(piece) - 1)]
            else:
                found.append(_singular(piece))
    return found


_CJK_FIRST = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿가-힯]")


def _singular(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith(("us", "ss")):
        return word
    return word[:-1]
