"""The rival that sees colours and coarse shape: what finds copies of a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from catalog.errors import ModelError
from catalog.images import Photo
from catalog.items import ProductItem, QueryItem, hide_fields
from catalog.likeness import NUM_BITS, perceptual_hash
from validation.rivals.colour_histogram import ColourHistogram, hsv_histogram

_NUM_COLOURS = ColourHistogram.dims - 2
_NO_PRODUCT_PHOTO, _NO_QUERY_PHOTO = -2, -1


class ColourAndHash:
    """Square root of the HSV histogram beside the bits of the perceptual hash as +1 and -1, half each.

    The cosine of two photos is the mean of their Bhattacharyya coefficient and of 1 - 2 x the share of differing bits.
    A product is the normalised mean of its photos.

    Source: our choice of the two halves; the hash is `catalog.likeness.perceptual_hash`.
    """

    name = "colour_hash"
    modalities = frozenset({"image"})
    dims = _NUM_COLOURS + NUM_BITS + 2
    num_parameters = 0
    num_bytes = 0

    def __init__(self) -> None:
        self.digest = hashlib.sha256(f"colour_hash-1:{ColourHistogram().digest}:{NUM_BITS}".encode()).hexdigest()
        self._seen: dict[str, np.ndarray] = {}

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        """(N, dims) float32 of unit length; products without a photo match nothing."""
        return self._stack([self._embed(hide_fields(item, hide).photos, _NO_PRODUCT_PHOTO) for item in items])

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        """(N, dims) float32 of unit length; queries without a photo match nothing."""
        return self._stack([self._embed([item.photo] if item.photo else [], _NO_QUERY_PHOTO) for item in items])

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        """Refuse: colours and shapes cannot be read from words.

        Raises:
            ModelError: Always.
        """
        raise ModelError("colours and hashes cannot be read from text", where="embed_labels", allowed="photographs")

    def _stack(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), self.dims)

    def _embed(self, photos: Sequence[Photo], missing_axis: int) -> np.ndarray:
        row = np.zeros(self.dims)
        if photos:
            row[:-2] = np.mean([self._look(photo) for photo in photos], axis=0)
        else:
            row[missing_axis] = 1.0
        return row / np.linalg.norm(row)

    def _look(self, photo: Photo) -> np.ndarray:
        """(512,) of unit length, kept by the photo's digest."""
        found = self._seen.get(photo.digest) if photo.digest else None
        if found is None:
            image = photo.load()
            bits = np.where(perceptual_hash(image), 1.0, -1.0) / np.sqrt(NUM_BITS)
            found = np.concatenate([np.sqrt(hsv_histogram(image)), bits]) / np.sqrt(2)
            if photo.digest:
                self._seen[photo.digest] = found
        return found
