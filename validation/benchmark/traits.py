"""What slices are made of: the properties of products and queries that an encoder may be better or worse at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from catalog.background import background_of
from catalog.images import Photo
from catalog.items import ProductItem
from catalog.rows import Product
from validation.benchmark.evalset import Traits

HEAD_FRAC = 0.5
"""The most frequent leaves that together hold this share of the train products are the head; our choice."""


class Backgrounds:
    """Clean or cluttered, for each photograph; each is decoded once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, photo: Photo) -> str:
        if photo.digest not in self._known:
            self._known[photo.digest] = background_of(photo.load())
        return self._known[photo.digest]


def product_traits(
    gallery: Sequence[ProductItem], train: Iterable[Product], backgrounds: Backgrounds
) -> tuple[Traits, ...]:
    """Traits of each gallery product.

    - `category`: the root of its category path.
    - `frequency`: head or tail, by how many train products its leaf has; a leaf that none has is tail.
    - `leaf`: seen or unseen in train.
    - `modality`: title and photo, or which of the two.
    - `photos`: none, one or several in the gallery.
    - `background`: clean or cluttered, of its first photo.
    """
    counts = Counter(product.category for product in train if product.category)
    head = _head(counts)
    rows = []
    for item in gallery:
        path, photos = item.product.category, len(item.photos)
        traits = {
            "modality": _modality(item),
            "photos": "none" if not photos else "one" if photos == 1 else "several",
        }
        if photos:
            traits["background"] = backgrounds.of(item.photos[0])
        if path:
            traits |= {
                "category": path[0],
                "frequency": "head" if path in head else "tail",
                "leaf": "seen" if path in counts else "unseen",
            }
        rows.append(tuple(sorted(traits.items())))
    return tuple(rows)


def masks(rows: Sequence[Mapping[str, str]]) -> dict[str, np.ndarray]:
    """`kind=name` -> (n,) bool, for kinds in which the items differ."""
    found: dict[str, np.ndarray] = {}
    for kind in sorted({kind for row in rows for kind in row}):
        numbers: dict[str | None, int] = {}
        own = np.array([numbers.setdefault(row.get(kind), len(numbers)) for row in rows])
        if len(numbers) > 1:
            found |= {
                f"{kind}={name}": own == numbers[name] for name in sorted(name for name in numbers if name is not None)
            }
    return found


def _modality(item: ProductItem) -> str:
    if not item.photos:
        return "title" if item.product.title else "neither"
    return "title and photo" if item.product.title else "photo"


def _head(counts: Counter[tuple[str, ...]]) -> frozenset[tuple[str, ...]]:
    head, held = set(), 0
    for path, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if held >= HEAD_FRAC * counts.total():
            break
        head.add(path)
        held += count
    return frozenset(head)
