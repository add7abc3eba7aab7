"""The rival that sees colours and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from catalog.errors import ModelError
from catalog.images import Photo
from catalog.items import ProductItem, QueryItem, hide_fields

_BINS = (16, 4, 4)
"""Of hue, saturation and value."""
_SIDE_PX = 64
_NO_PRODUCT_PHOTO, _NO_QUERY_PHOTO = -2, -1
"""Two axes of their own, orthogonal to every histogram and to each other: what has no photo matches nothing."""


def hsv_histogram(image: Image.Image) -> np.ndarray:
    """Joint histogram of hue, saturation and value over the whole picture.

    Returns:
        (256,) float64, sums to 1.
    """
    small = image.convert("RGB").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX).convert("HSV")
    pixels = np.asarray(small, dtype=np.int64).reshape(-1, 3)
    hue, saturation, value = (pixels[:, axis] * bins // 256 for axis, bins in enumerate(_BINS))
    cells = (hue * _BINS[1] + saturation) * _BINS[2] + value
    return np.bincount(cells, minlength=int(np.prod(_BINS))) / len(pixels)


class ColourHistogram:
    """Square root of the mean HSV histogram of the photos: its cosine is the Bhattacharyya coefficient.

    Source: A. Bhattacharyya, On a measure of divergence between two statistical populations, 1943.
    """

    name = "colour_histogram"
    modalities = frozenset({"image"})
    num_parameters = 0
    num_bytes = 0
    dims = int(np.prod(_BINS)) + 2

    def __init__(self) -> None:
        self.digest = hashlib.sha256(f"colour_histogram:{_BINS}:{_SIDE_PX}".encode()).hexdigest()
        self._seen: dict[str, np.ndarray] = {}

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        return self._stack([self._embed(hide_fields(item, hide).photos, _NO_PRODUCT_PHOTO) for item in items])

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        return self._stack([self._embed([item.photo] if item.photo else [], _NO_QUERY_PHOTO) for item in items])

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        """Refuse: colours cannot be read from words.

        Raises:
            ModelError: Always.
        """
        raise ModelError("the colour histogram cannot read text", where="embed_labels", allowed="photographs")

    def _stack(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), self.dims)

    def _embed(self, photos: Sequence[Photo], missing_axis: int) -> np.ndarray:
        row = np.zeros(self.dims)
        if photos:
            row[:-2] = np.sqrt(np.mean([self._histogram(photo) for photo in photos], axis=0))
        else:
            row[missing_axis] = 1.0
        return row

    def _histogram(self, photo: Photo) -> np.ndarray:
        if not photo.digest:
            return hsv_histogram(photo.load())
        if photo.digest not in self._seen:
            self._seen[photo.digest] = hsv_histogram(photo.load())
        return self._seen[photo.digest]
