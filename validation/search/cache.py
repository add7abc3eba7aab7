"""Each vector computed once: an embedder that remembers, by what the encoder and the item are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from catalog.embedder import Embedder, check_vectors
from catalog.errors import ConfigError
from catalog.images import Photo
from catalog.items import ProductItem, QueryItem, hide_fields
from validation.search.shards import VectorShards

_Item = TypeVar("_Item")


class CachedVectors:
    """An `Embedder` that asks another one only for what it was never asked before, in this process or an earlier one.

    A vector is known by the encoder's digest and by a digest of all that the encoder may see of the item: so two
    products that differ only in what is hidden share one, and a changed photograph, word or encoder makes a new one.
    Every batch is on disk before the next begins; a killed run goes on where it stopped.

    Speed measured through it is not the encoder's.

    Args:
        embedder: Who computes.
        folder: Where vectors are kept, of any number of encoders; made where it is not there.
        by_id: Count product_id and query_id as seen. For an encoder that reads them, such as random vectors.
        batch_items: Items looked up, computed and written at a time.
        max_gib: Most disk the folder may take; the oldest vectors make room.

    Raises:
        ConfigError: The embedder has no digest, or a bound that is not above 0.
    """

    def __init__(
        self, embedder: Embedder, folder: Path, *, by_id: bool = False, batch_items: int = 1024, max_gib: float = 20.0
    ) -> None:
        if not embedder.digest:
            raise ConfigError("an encoder without a digest cannot be cached", where=embedder.name, fix="give it one")
        if batch_items < 1 or not max_gib > 0:
            raise ConfigError(
                "the vector cache's bounds leave nothing",
                got=f"batch_items {batch_items}, max_gib {max_gib}",
                allowed="batch_items from 1, max_gib above 0",
            )
        self.name, self.digest = embedder.name, embedder.digest
        self.dims, self.modalities = embedder.dims, embedder.modalities
        self.hits, self.misses = 0, 0
        """Items answered from what was known, and items that the encoder was given."""
        self._embedder, self._by_id, self._batch_items = embedder, by_id, batch_items
        encoder = f"{embedder.digest}\x00{embedder.dims}"
        self._shards = VectorShards(Path(folder), encoder, embedder.dims, int(max_gib * 2**30))

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        """(N, D) float32; what is hidden reaches neither the encoder nor the digest."""
        return self._embed(
            items,
            lambda item: product_digest(hide_fields(item, hide), by_id=self._by_id),
            lambda missing: self._embedder.embed_products(missing, hide),
            lambda item: item.product.product_id,
        )

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        """(N, D) float32"""
        return self._embed(
            items,
            lambda item: query_digest(item, by_id=self._by_id),
            self._embedder.embed_queries,
            lambda item: item.query_id,
        )

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        """(N, D) float32"""
        return self._embed(texts, label_digest, self._embedder.embed_labels, str)

    def _embed(
        self,
        items: Iterable[_Item],
        digest: Callable[[_Item], bytes | None],
        compute: Callable[[list[_Item]], np.ndarray],
        name: Callable[[_Item], str],
    ) -> np.ndarray:
        parts = [np.empty((0, self.dims), dtype=np.float32)]
        for batch in _batches(items, self._batch_items):
            keys = [digest(item) for item in batch]
            known = [row for row, key in enumerate(keys) if key is not None]
            vectors = np.zeros((len(batch), self.dims), dtype=np.float32)
            found, vectors[known] = self._shards.read([key for key in keys if key is not None])
            missing = set(range(len(batch))) - {row for row, there in zip(known, found, strict=True) if there}
            # One of each key, and every item that has none.
            firsts: dict[Any, int] = {}
            for row in sorted(missing):
                firsts.setdefault(keys[row] if keys[row] is not None else row, row)
            rows = list(firsts.values())
            self.hits, self.misses = self.hits + len(batch) - len(rows), self.misses + len(rows)
            if rows:
                ids = [name(batch[row]) for row in rows]
                new = check_vectors(np.asarray(compute([batch[row] for row in rows])), ids, self.dims, self.name)
                place = {key: number for number, key in enumerate(firsts)}
                for row in missing:
                    vectors[row] = new[place[keys[row] if keys[row] is not None else row]]
                kept = [number for number, key in enumerate(firsts) if isinstance(key, bytes)]
                if kept:
                    self._shards.append([key for key in firsts if isinstance(key, bytes)], new[kept])
            parts.append(vectors)
        return np.concatenate(parts)


def product_digest(item: ProductItem, *, by_id: bool = False) -> bytes | None:
    """SHA-256 of all an encoder may see of a product whose hidden fields are gone; None where that is not known.

    Not its ids unless asked, and not where its photographs lie. The order of photographs, attributes and values counts.
    """
    product = item.product
    seen = product.model_dump(mode="python", exclude={"product_id", "group_id", "images"})
    seen["photos"] = [_photo(photo) for photo in item.photos]
    return None if None in seen["photos"] else _digest("product", seen, product.product_id if by_id else None)


def query_digest(item: QueryItem, *, by_id: bool = False) -> bytes | None:
    """SHA-256 of a query's words and photograph; None where the photograph has no digest."""
    photo = None if item.photo is None else _photo(item.photo)
    if item.photo is not None and photo is None:
        return None
    return _digest("query", {"text": item.text, "photo": photo}, item.query_id if by_id else None)


def label_digest(text: str) -> bytes:
    """SHA-256 of a label."""
    return _digest("label", text, None)


def _photo(photo: Photo) -> dict[str, Any] | None:
    return {"digest": photo.digest, "box": photo.box, "role": photo.role} if photo.digest else None


def _digest(kind: str, seen: Any, by_id: str | None) -> bytes:
    return hashlib.sha256(json.dumps([kind, seen, by_id], default=_plain).encode()).digest()


def _plain(value: Any) -> Any:
    """A value of an unknown column, whole: the text of a long array would leave its middle out."""
    return value.tolist() if hasattr(value, "tolist") else [type(value).__name__, repr(value)]


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
