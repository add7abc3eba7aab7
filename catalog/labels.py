"""Label texts, the same wherever MOON is judged or served.

A category reads as its path from the root, `Men > Tops > Tees`, for four reasons. The path tells apart leaves of one
name (men's and women's pants). A decoder reads left to right, so the leaf, which decides, comes last and sees its
ancestors. The separator keeps two different paths from reading the same, which plain words would not (unless a shop
writes it inside a level: two such paths are then one label, for question and answer alike). And it is the very text
a product's category has in its input, so training can meet each label as it is asked later: there is no prompt of
which only the evaluation knows. Levels keep the shop's own spelling and case, as its titles do.
"""

from __future__ import annotations

from collections.abc import Sequence

CATEGORY_SEPARATOR = " > "
TIE_TOLERANCE = 1e-6
"""Cosines closer than this count as equal: a matrix product may round equal vectors to neighbouring numbers."""


def category_label(path_prefix: Sequence[str]) -> str:
    """Text of the category at the end of `path_prefix`, root first.

    >>> category_label(("Men", "Tops", "Tees"))
    'Men > Tops > Tees'
    """
    if not path_prefix:
        raise ValueError("a category label needs at least one level")
    return CATEGORY_SEPARATOR.join(path_prefix)


def attribute_label(name: str, value: str) -> str:
    """Text of one value of one attribute; underscores of the name read as spaces.

    >>> attribute_label("eco_collection", "Yes")
    'eco collection: Yes'
    """
    return f"{name.replace('_', ' ')}: {value}"
