"""The one interface everything that can be judged keeps: MOON, a rival, a trivial baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from catalog.errors import ModelError
from catalog.items import ProductItem, QueryItem


@runtime_checkable
class Embedder(Protocol):
    """Products, queries and label texts to vectors of one space.

    Every method takes an iterable and returns `(N, dims)` float32, L2-normalised, in the order given: N in is N out,
    or an error that names the item.
    """

    name: str
    digest: str
    """Changes whenever the vectors could change."""
    dims: int
    modalities: frozenset[str]
    """Of `text` and `image`: what it can read. A task that needs more is reported as not applicable."""

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray: ...

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray: ...

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray: ...


def check_vectors(vectors: np.ndarray, ids: Sequence[str], dims: int, who: str) -> np.ndarray:
    """Hold an embedder to the protocol.

    Raises:
        ModelError: Wrong count or width, non-finite numbers, or rows that are not of unit length; names the item.
    """
    if vectors.shape != (len(ids), dims):
        raise ModelError(
            f"{who} returned vectors of the wrong shape", got=str(vectors.shape), allowed=str((len(ids), dims))
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise ModelError(f"{who} returned a vector that is not finite", where=ids[int(np.argmin(finite))])
    norms = np.linalg.norm(vectors, axis=1)
    off = np.abs(norms - 1.0) > 1e-3
    if off.any():
        first = int(np.argmax(off))
        raise ModelError(
            f"{who} returned a vector that is not of unit length", where=ids[first], got=f"norm {norms[first]:.4f}"
        )
    return vectors.astype(np.float32, copy=False)
