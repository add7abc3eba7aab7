"""Which products say the same: overlap of their shingles, exactly, over an inverted index."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from catalog.rows import Product
from validation.benchmark.words import words_of


def shingles(product: Product) -> frozenset[str]:
    """Title words, pairs of neighbouring title words, category levels and attribute values, normalised."""
    words = words_of(product.title or "")
    pairs = (f"{one} {two}" for one, two in pairwise(words))
    levels = (f"category {depth} {' '.join(words_of(name))}" for depth, name in enumerate(product.category))
    values = (
        f"{name}: {' '.join(words_of(text))}"
        for name, value in product.attributes.items()
        for text in ((value,) if isinstance(value, str) else value)
    )
    return frozenset((*words, *pairs, *levels, *values))


def full_text(product: Product) -> str:
    """Title, category and attributes as one normalised line; equal lines are equal texts."""
    values = sorted(
        f"{name}={'|'.join(sorted(' '.join(words_of(text)) for text in ((v,) if isinstance(v, str) else v)))}"
        for name, v in product.attributes.items()
    )
    levels = ">".join(" ".join(words_of(name)) for name in product.category)
    return "\n".join([" ".join(words_of(product.title or "")), levels, *values])


def near_texts(sets: Sequence[frozenset[str]], least: float) -> dict[tuple[int, int], float]:
    """All pairs i < j whose Jaccard overlap |a & b| / |a | b| is at least `least`; empty sets match nothing.

    Args:
        sets: One set of shingles a product.
        least: Above 0, at most 1.

    Returns:
        Pair -> overlap.

    Source: R. Bayardo, Y. Ma, R. Srikant, Scaling up all pairs similarity search, WWW 2007 (prefix filter: sets that
        overlap enough share one of their rarest elements), without approximation.
    """
    counts = Counter(element for one in sets for element in one)
    ranked = [sorted(one, key=lambda element: (counts[element], element)) for one in sets]
    order = sorted(range(len(sets)), key=lambda index: (len(sets[index]), index))
    index: dict[str, list[int]] = {}
    pairs: dict[tuple[int, int], float] = {}
    for here in order:
        size = len(sets[here])
        if not size:
            continue
        # An overlap of `least` needs at least ceil(least * size) common elements, so one of the first ones is common.
        prefix = ranked[here][: size - math.ceil(least * size - 1e-9) + 1]
        partners = {there for element in prefix for there in index.get(element, ())}
        for there in partners:
            if len(sets[there]) < least * size - 1e-9:
                continue
            common = len(sets[here] & sets[there])
            overlap = common / (size + len(sets[there]) - common)
            if overlap >= least:
                pairs[min(here, there), max(here, there)] = overlap
        for element in prefix:
            index.setdefault(element, []).append(here)
    return pairs
