"""Encoders that know nothing: what chance and a broken model look like under the same harness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from catalog.items import ProductItem, QueryItem

BOTH_MODALITIES = frozenset({"text", "image"})


class RandomVectors:
    """A vector drawn from the item's id: the level of chance."""

    name = "random"
    modalities = BOTH_MODALITIES
    num_parameters = 0
    num_bytes = 0

    def __init__(self, dims: int = 64, seed: int = 0) -> None:
        self.dims = dims
        self._seed = seed
        self.digest = hashlib.sha256(f"random:{dims}:{seed}".encode()).hexdigest()

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        return self._draw("product", (item.product.product_id for item in items))

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        return self._draw("query", (item.query_id for item in items))

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        return self._draw("label", texts)

    def _draw(self, what: str, keys: Iterable[str]) -> np.ndarray:
        rows = []
        for key in keys:
            state = hashlib.sha256(f"{self._seed}\x00{what}\x00{key}".encode()).digest()
            row = np.random.default_rng(int.from_bytes(state[:16])).standard_normal(self.dims)
            rows.append(row / np.linalg.norm(row))
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), self.dims)


class Constant:
    """The same vector for everything: a collapsed encoder. Ties count as wrong, so it must score 0."""

    name = "constant"
    modalities = BOTH_MODALITIES
    num_parameters = 0
    num_bytes = 0

    def __init__(self, dims: int = 64) -> None:
        self.dims = dims
        self.digest = hashlib.sha256(f"constant:{dims}".encode()).hexdigest()

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        return self._same(sum(1 for _ in items))

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        return self._same(sum(1 for _ in items))

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        return self._same(sum(1 for _ in texts))

    def _same(self, count: int) -> np.ndarray:
        return np.full((count, self.dims), self.dims**-0.5, dtype=np.float32)
