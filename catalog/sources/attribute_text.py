"""Attributes written into one cell: `颜色:红色,,尺码:S!!!M`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ODD_SPACES = re.compile(r"(?:\s|[\u200b\ufeff])+")
_ESCAPED = re.compile(r"\\[nrt]")
_COLONS = (":", "：")


@dataclass(frozen=True)
class PairSyntax:
    """What stands between pairs, between a name and its values, and between values."""

    pair: str = ",,"
    key: str = ":"
    value: str | None = "!!!"


def even_spaces(text: str) -> str:
    """`text` with every run of white space, zero-width spaces and byte order marks as one space, none at the ends.

    Joiners stay: emoji and several scripts are spelt with them.
    """
    if text.isprintable() and "  " not in text:
        return text.strip()
    return _ODD_SPACES.sub(" ", text).strip()


def parse_pairs(text: str, syntax: PairSyntax = PairSyntax()) -> tuple[dict[str, str | list[str]], list[str]]:
    """Names to a value or several, and what could not be read.

    A name ends at the first separator, so a value keeps colons of its own (`比例:16:9`); a full-width colon counts as
    a colon. A name that stands twice has all its values. Our choice, since the published description of the syntax
    says nothing about either.

    Args:
        text: The cell.
        syntax: Its separators.

    Returns:
        attributes: One value as text, several as a list, repeated ones once, in the order of the text.
        problems: One phrase for each kind of fault; the pair is left out.
    """
    found: dict[str, list[str]] = {}
    problems: dict[str, None] = {}
    for pair in _ESCAPED.sub(" ", text).split(syntax.pair):
        if not even_spaces(pair):
            continue
        name, given, values = _split_once(pair, syntax.key)
        # Three separators in a row leave part of one at the head of the name.
        name = even_spaces(even_spaces(name).strip(syntax.pair[0]))
        kept = [even_spaces(value) for value in (values.split(syntax.value) if syntax.value else [values])]
        kept = [value for value in kept if value]
        if not given:
            problems["attributes without a name left out"] = None
        elif not name:
            problems["attributes with an empty name left out"] = None
        elif not kept:
            problems["attributes without a value left out"] = None
        else:
            if name in found:
                problems["attributes that stand twice put together"] = None
            found.setdefault(name, []).extend(kept)
    several = {name: list(dict.fromkeys(values)) for name, values in found.items()}
    return {name: values[0] if len(values) == 1 else values for name, values in several.items()}, list(problems)


def _split_once(pair: str, separator: str) -> tuple[str, bool, str]:
    """Split at the first separator; where that is a colon, its full-width form ends a name too."""
    marks = _COLONS if separator == ":" else (separator,)
    places = [(place, mark) for mark in marks if (place := pair.find(mark)) >= 0]
    if not places:
        return pair, False, ""
    place, mark = min(places)
    return pair[:place], True, pair[place + len(mark) :]
