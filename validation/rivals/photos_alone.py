"""What rivals share that see pictures, learnt nothing and read no text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from catalog.errors import ModelError
from catalog.images import Photo
from catalog.items import ProductItem, QueryItem, hide_fields

MISSING_AXES = 2
"""Two axes of their own, orthogonal to every picture and to each other: what has no photo matches nothing."""
_NO_PRODUCT_PHOTO, _NO_QUERY_PHOTO = -2, -1


class PhotosAlone(ABC):
    """An `Embedder` by a fixed rule: what each photo shows, averaged. A subclass sets `name`, `digest` and `dims`."""

    name: str
    digest: str
    dims: int
    modalities = frozenset({"image"})
    num_parameters = 0
    num_bytes = 0

    def __init__(self) -> None:
        self._seen: dict[str, np.ndarray] = {}

    @abstractmethod
    def look(self, image: Image.Image) -> np.ndarray:
        """(dims - 2,) of one picture; the mean over a product's photos is taken of these."""

    @abstractmethod
    def pooled(self, mean: np.ndarray) -> np.ndarray:
        """(dims - 2,) of unit length of that mean."""

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        """(N, dims) float32 of unit length; products without a photo match nothing."""
        return self._stack([self._embed(hide_fields(item, hide).photos, _NO_PRODUCT_PHOTO) for item in items])

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        """(N, dims) float32 of unit length; queries without a photo match nothing."""
        return self._stack([self._embed([item.photo] if item.photo else [], _NO_QUERY_PHOTO) for item in items])

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        """Refuse: what is seen here cannot be read from words.

        Raises:
            ModelError: Always.
        """
        raise ModelError(f"{self.name} cannot read text", where="embed_labels", allowed="photographs")

    def _stack(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), self.dims)

    def _embed(self, photos: Sequence[Photo], missing_axis: int) -> np.ndarray:
        row = np.zeros(self.dims)
        if photos:
            row[:-MISSING_AXES] = self.pooled(np.mean([self._known(photo) for photo in photos], axis=0))
        else:
            row[missing_axis] = 1.0
        return row

    def _known(self, photo: Photo) -> np.ndarray:
        """Looked at once, by the photo's digest."""
        if not photo.digest:
            return self.look(photo.load())
        if photo.digest not in self._seen:
            self._seen[photo.digest] = self.look(photo.load())
        return self._seen[photo.digest]
