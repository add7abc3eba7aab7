"""Label texts and the zero-shot decision, the same wherever MOON is judged or served.

A category reads as its path from the root, `Men > Tops > Tees`, for four reasons. The path tells apart leaves of one
name (men's and women's pants). A decoder reads left to right, so the leaf, which decides, comes last and sees its
ancestors. The separator keeps two different paths from reading the same, which plain words would not (unless a shop
writes it inside a level: two such paths are then one label, for question and answer alike). And it is the very text
a product's category has in its input, so training can meet each label as it is asked later: there is no prompt of
which only the evaluation knows. Levels keep the shop's own spelling and case, as its titles do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from catalog.errors import ModelError

CATEGORY_SEPARATOR = " > "
TIE_TOLERANCE = 1e-6
"""Cosines closer than this count as equal: a matrix product may round equal vectors to neighbouring numbers."""

_MAX_SCORES = 1 << 24


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


def argmax_label(item_vectors: np.ndarray, label_vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest label of each item by cosine, in blocks, so that memory does not grow with N times L.

    Args:
        item_vectors: (N, D), L2-normalised.
        label_vectors: (L, D), L2-normalised, L >= 1.

    Returns:
        best: (N,) int64, index of the nearest label, the first of equals.
        tied: (N,) bool, whether another label is as near within TIE_TOLERANCE. What a tie is worth is the caller's
            policy; the benchmark counts it as wrong, so that a constant encoder scores 0.

    Raises:
        ModelError: No label, widths that differ, or a vector that is not finite.
    """
    items, labels = np.asarray(item_vectors), np.asarray(label_vectors)
    if items.ndim != 2 or labels.ndim != 2 or not len(labels) or items.shape[1] != labels.shape[1]:
        raise ModelError(
            "items and labels do not fit together",
            got=f"{items.shape} and {labels.shape}",
            allowed="(N, D) and (L, D) with L >= 1",
        )
    if not (np.isfinite(items).all() and np.isfinite(labels).all()):
        raise ModelError("an item's or label's vector is not finite", fix="check the encoder that made it")
    best = np.zeros(len(items), dtype=np.int64)
    tied = np.zeros(len(items), dtype=bool)
    columns = labels.astype(np.float64).T
    step = max(1, _MAX_SCORES // len(labels))
    for start in range(0, len(items), step):
        scores = items[start : start + step].astype(np.float64) @ columns
        top = scores.max(axis=1, keepdims=True)
        near = scores >= top - TIE_TOLERANCE
        best[start : start + step] = near.argmax(axis=1)
        tied[start : start + step] = near.sum(axis=1) > 1
    return best, tied
