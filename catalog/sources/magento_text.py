"""Cells of the Magento sample store: category paths, attribute cells to values, file names to roles."""

from __future__ import annotations

import re
from html import unescape
from itertools import takewhile
from pathlib import Path

_MULTIPLE = frozenset(
    {
        "activity",
        "climate",
        "features_bags",
        "gear_type",
        "gender",
        "material",
        "pattern",
        "size",
        "strap_bags",
        "style_bags",
        "style_bottom",
        "style_general",
    }
)
_SINGLE = frozenset({"color", "eco_collection", "format", "performance_fabric"})
_FLAGS = {"1": "Yes", "0": "No"}
_RENAMED = {"category_gear": "gear_type"}
_DEPARTMENTS = frozenset({"Men", "Women", "Gear", "Training"})
_MARKS = re.compile(r"&(?:trade|reg);")
_ROLE = re.compile(r"_(main|back|alt|outfit|side)")


def category_of(cell: str) -> list[str]:
    """The longest path below a department; promotional collections are passed over."""
    paths = [path.split("/")[1:] for path in cell.split(",")]
    return max((path for path in paths if path and path[0] in _DEPARTMENTS), key=len, default=[])


def lines_of(cell: str) -> list[str]:
    """The non-empty lines of a cell."""
    return [line.strip() for line in cell.split("\n") if line.strip()]


def attributes_of(cells: dict[str, str]) -> dict[str, str | list[str]]:
    """The describing attributes of a row, sorted by name; several values are split at `|` or line ends."""
    found: dict[str, str | list[str]] = {}
    for column, cell in cells.items():
        name = _RENAMED.get(column, column)
        values = [value for line in lines_of(unescape(_MARKS.sub("", cell or ""))) for value in line.split("|")]
        if values and name in _MULTIPLE:
            found[name] = list(dict.fromkeys(values))
        elif values and name in _SINGLE:
            found[name] = _FLAGS.get(values[0], values[0])
    return dict(sorted(found.items()))


def common_words(one: str, other: str) -> str:
    """The words that both titles begin with."""
    words = zip(one.split(), other.split(), strict=False)
    return " ".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], words))


def role_of(photo: str) -> str:
    """main, back, alt, outfit or side, as the file's name says."""
    match = _ROLE.search(Path(photo).stem)
    return match.group(1) if match else "main"
