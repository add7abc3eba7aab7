"""Encoders with known answers, and one that writes down what it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from catalog import Photo, ProductItem, QueryItem, hide_fields


class Spy:
    """Keeps everything it is given, after hiding, as any encoder must; answers with vectors of the ids."""

    name = "spy"
    digest = "spy"
    dims = 16
    modalities = frozenset({"text", "image"})

    def __init__(self) -> None:
        self.products: list[tuple[frozenset[str], ProductItem]] = []
        self.queries: list[QueryItem] = []
        self.labels: list[str] = []

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        items = list(items)
        self.products += [(hide, hide_fields(item, hide)) for item in items]
        return vectors_of((item.product.product_id for item in items), self.dims)

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        items = list(items)
        self.queries += items
        return vectors_of((item.query_id for item in items), self.dims)

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        texts = list(texts)
        self.labels += texts
        return vectors_of(texts, self.dims)


class Oracle:
    """Knows every answer: product, query and label of one key get one axis of the space; several keys, their mean."""

    name = "oracle"
    digest = "oracle"
    dims = 512
    modalities = frozenset({"text", "image"})

    def __init__(
        self,
        of_product: Callable[[ProductItem, frozenset[str]], str | tuple[str, ...]],
        of_query: Callable[[QueryItem], str] = lambda item: item.query_id,
        of_label: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._of_product, self._of_query, self._of_label = of_product, of_query, of_label
        self._axes: dict[str, int] = {}

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        return self._axis(self._of_product(item, hide) for item in items)

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        return self._axis(self._of_query(item) for item in items)

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        return self._axis(self._of_label(text) for text in texts)

    def _axis(self, keys: Iterable[str | tuple[str, ...]]) -> np.ndarray:
        rows = []
        for key in keys:
            own = (key,) if isinstance(key, str) else key
            axes = [self._axes.setdefault(one, len(self._axes)) for one in own]
            rows.append(np.eye(self.dims, dtype=np.float32)[axes].sum(axis=0) / len(own) ** 0.5)
        return np.asarray(rows, dtype=np.float32)


def vectors_of(keys: Iterable[str], dims: int) -> np.ndarray:
    """(N, dims) unit vectors that depend on the keys alone."""
    rows = []
    for key in keys:
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
        rows.append(np.random.default_rng(seed).standard_normal(dims))
    out = np.asarray(rows, dtype=np.float32).reshape(len(rows), dims)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def digests_of(photos: Iterable[Photo]) -> set[str]:
    return {photo.digest for photo in photos}
