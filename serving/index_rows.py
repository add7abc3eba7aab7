"""A catalogue as rows of the index: vectors, what a hit shows, and a small picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import Catalog, Embedder, ImageLimits, Product, ProductItem, check_vectors
from catalog.images import thumbnail_jpeg


def table_schema(dims: int) -> pa.Schema:
    """Columns of the table; `vector` is fixed to `dims` float32."""
    return pa.schema(
        [
            ("position", pa.int64()),
            ("product_id", pa.string()),
            ("group_id", pa.string()),
            ("title", pa.string()),
            ("category", pa.list_(pa.string())),
            ("price", pa.float64()),
            ("image", pa.string()),
            ("thumbnail", pa.binary()),
            ("vector", pa.list_(pa.float32(), dims)),
        ]
    )


def embedded_batches(
    encoder: Embedder,
    catalog: Catalog,
    batch_size: int,
    thumbnail_px: int,
    limits: ImageLimits,
    progress: Callable[[int, int], None] | None,
) -> Iterator[list[dict[str, Any]]]:
    """Rows of the whole catalogue, `batch_size` at a time; photographs are in memory for one batch only.

    Raises:
        ModelError: The encoder broke the Embedder protocol.
        ImageError: A photograph cannot be read; names it.
    """
    items = catalog.items()
    done, total = 0, len(catalog.products)
    while batch := list(islice(items, batch_size)):
        vectors_ND = encoder.embed_products(batch)
        vectors_ND = check_vectors(vectors_ND, [item.product.product_id for item in batch], encoder.dims, encoder.name)
        yield [
            _row(done + offset, item, vector_D, thumbnail_px, limits)
            for offset, (item, vector_D) in enumerate(zip(batch, vectors_ND, strict=True))
        ]
        done += len(batch)
        if progress:
            progress(done, total)


def _row(
    position: int, item: ProductItem, vector_D: np.ndarray, thumbnail_px: int, limits: ImageLimits
) -> dict[str, Any]:
    product: Product = item.product
    return {
        "position": position,
        "product_id": product.product_id,
        "group_id": product.group_id,
        "title": product.title,
        "category": list(product.category),
        "price": product.price,
        "image": item.photos[0].ref if item.photos else None,
        "thumbnail": _thumbnail(item, thumbnail_px, limits),
        "vector": vector_D,
    }


def _thumbnail(item: ProductItem, side_px: int, limits: ImageLimits) -> bytes | None:
    if not item.photos:
        return None
    return thumbnail_jpeg(item.photos[0].load(limits), side_px)
