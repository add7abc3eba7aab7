"""The vector index of a whole catalogue: LanceDB on disk, exact search by default.

A folder with a Lance table and a manifest. The manifest names the model and the catalogue by digest, so that an
index is never searched with vectors of another model. It is written in a folder beside the target and renamed when
whole: whoever sees the folder sees a finished index.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import BTree, IvfHnswSq

from catalog import Catalog, Embedder, ImageLimits, StorageError
from serving.errors import ServingError
from serving.index_rows import embedded_batches, table_schema

INDEX_SCHEMA_VERSION = 1
TABLE = "products"
MANIFEST = "manifest.json"
ROWS_PER_WRITE = 4096
"""Rows held in memory before they go to disk; each write makes one fragment of the table."""
_LANCE_IO = "LanceError(IO): "
TIE_TOLERANCE = 1e-5
"""Lance and numpy round a cosine differently in its last bits; candidates this close to the last hit are re-scored."""


@dataclass(frozen=True)
class IndexInfo:
    """What an index was made of."""

    schema_version: int
    model_digest: str
    catalog_digest: str
    dims: int
    num_products: int
    thumbnail_px: int
    exact: bool
    """False when the table is searched through an approximate index."""
    digest: str
    """Over all of the above: equal when the same encoder has seen the same catalogue."""


@dataclass(frozen=True)
class Hit:
    """One product found."""

    product_id: str
    score: float
    """Cosine of query and product, -1 to 1."""
    title: str | None
    category: tuple[str, ...]
    price: float | None
    group_id: str
    image: str | None
    """Reference of the product's first photograph in its catalogue."""
    position: int
    """Row in the catalogue; products of equal score are ordered by it."""


def index_digest(model_digest: str, catalog_digest: str, dims: int, thumbnail_px: int, exact: bool) -> str:
    """What identifies an index: the files inside carry random names, so their bytes cannot."""
    parts = (f"moon-index-{INDEX_SCHEMA_VERSION}", model_digest, catalog_digest, dims, thumbnail_px, exact)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def build_index(
    encoder: Embedder,
    catalog: Catalog,
    folder: str | Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    batch_size: int = 64,
    thumbnail_px: int = 160,
    ann_min_rows: int = 200_000,
    limits: ImageLimits = ImageLimits(),
) -> IndexInfo:
    """Embed every product of `catalog` and write the index.

    Args:
        encoder: Its vectors and its digest go into the index.
        catalog: Streamed in batches; photographs are read one batch at a time.
        folder: Where the index shall lie; an index already there is replaced when the new one is whole.
        progress: Called with (products done, products in all).
        batch_size: Products embedded at a time.
        thumbnail_px: Longest side of the result pictures, pixels.
        ann_min_rows: From this many products on an approximate index is added; below, search is exact.
        limits: What a photograph may cost.

    Raises:
        ServingError: The catalogue has no products.
        ModelError: The encoder broke the Embedder protocol.
        ImageError: A photograph cannot be read; names it.
        StorageError: The folder cannot be written.
    """
    total = len(catalog.products)
    if not total:
        raise ServingError("catalogue has no products to index", where=catalog.name, fix="ingest some products first")
    exact = total < ann_min_rows
    info = IndexInfo(
        schema_version=INDEX_SCHEMA_VERSION,
        model_digest=encoder.digest,
        catalog_digest=catalog.digest,
        dims=encoder.dims,
        num_products=total,
        thumbnail_px=thumbnail_px,
        exact=exact,
        digest=index_digest(encoder.digest, catalog.digest, encoder.dims, thumbnail_px, exact),
    )
    target = Path(folder)
    partial = target.with_name(f".{target.name}.partial")
    try:
        # What a killed build left behind.
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        batches = embedded_batches(encoder, catalog, batch_size, thumbnail_px, limits, progress)
        _write_table(partial, batches, info)
        (partial / MANIFEST).write_text(json.dumps(asdict(info), indent=1))
        _replace(partial, target)
    except OSError as error:
        raise StorageError(
            "index cannot be written", where=str(target), got=str(error), fix="free space or choose another folder"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return info


def _write_table(folder: Path, batches: Iterator[list[dict[str, Any]]], info: IndexInfo) -> None:
    schema = table_schema(info.dims)
    with _full_disk_is_an_os_error():
        table = lancedb.connect(str(folder)).create_table(TABLE, schema=schema)
    waiting: list[dict[str, Any]] = []
    for rows in batches:
        waiting += rows
        if len(waiting) >= ROWS_PER_WRITE:
            with _full_disk_is_an_os_error():
                table.add(pa.Table.from_pylist(waiting, schema=schema))
            waiting = []
    with _full_disk_is_an_os_error():
        if waiting:
            table.add(pa.Table.from_pylist(waiting, schema=schema))
        table.create_index("product_id", config=BTree())
        if not info.exact:
            num_partitions = max(1, math.isqrt(info.num_products))
            table.create_index("vector", config=IvfHnswSq(distance_type="cosine", num_partitions=num_partitions))


@contextlib.contextmanager
def _full_disk_is_an_os_error() -> Iterator[None]:
    """Lance tells of a disk that cannot be written with a bare RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if _LANCE_IO not in str(error):
            raise
        raise OSError(str(error).partition(_LANCE_IO)[2].partition(", /")[0]) from None


def _replace(partial: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(partial, target)
    shutil.rmtree(old, ignore_errors=True)


class ProductIndex:
    """An index opened for searching; safe to share between threads."""

    def __init__(self, table: Any, info: IndexInfo) -> None:
        self._table = table
        self.info = info

    @classmethod
    def open(cls, folder: str | Path, *, model_digest: str | None = None, dims: int | None = None) -> ProductIndex:
        """Open the index in `folder`.

        Args:
            folder: What `build_index` wrote.
            model_digest: Digest of the encoder that queries will come from; checked when given.
            dims: Length of its vectors; checked when given.

        Raises:
            ServingError: No index there, another schema version, another model, another length of vectors, or a table
                that is not whole.
        """
        info = read_index_info(folder)
        if dims is not None and info.dims != dims:
            raise ServingError(
                "index holds vectors of another length",
                where=str(folder),
                got=str(info.dims),
                allowed=str(dims),
                fix="build the index again with the same model and serving.dims",
            )
        if model_digest is not None and info.model_digest != model_digest:
            raise ServingError(
                "index was built with another model",
                where=str(folder),
                got=info.model_digest[:12],
                allowed=model_digest[:12],
                fix="build the index again with this model",
            )
        table = lancedb.connect(str(folder)).open_table(TABLE)
        if (num_rows := table.count_rows()) != info.num_products:
            raise ServingError(
                "index has lost rows",
                where=str(folder),
                got=str(num_rows),
                allowed=str(info.num_products),
                fix="build it again",
            )
        return cls(table, info)

    def search(self, vector: np.ndarray, k: int) -> list[Hit]:
        """The `k` products closest to `vector` by cosine, best first; equal scores in the catalogue's order.

        Args:
            vector: `(D,)` float32, L2-normalised.
            k: At least 1; fewer hits come back when the catalogue is smaller.

        Raises:
            ServingError: The vector has another width or is not finite, or k is below 1.
        """
        vector_D = np.asarray(vector, dtype=np.float32)
        if vector_D.shape != (self.info.dims,) or not np.isfinite(vector_D).all():
            raise ServingError(
                "query vector does not fit the index",
                got=f"shape {vector_D.shape}",
                allowed=f"({self.info.dims},), finite",
            )
        if k < 1:
            raise ServingError("k is out of range", where="k", got=str(k), allowed="at least 1")
        rows = self._candidates(vector_D, min(k, self.info.num_products))
        rows.sort(key=lambda row: (-row["score"], row["position"]))
        return [
            Hit(
                product_id=row["product_id"],
                score=row["score"],
                title=row["title"],
                category=tuple(row["category"]),
                price=row["price"],
                group_id=row["group_id"],
                image=row["image"],
                position=row["position"],
            )
            for row in rows[:k]
        ]

    def _candidates(self, vector_D: np.ndarray, k: int) -> list[dict[str, Any]]:
        """At least `k` rows with exact scores, and every row that ties with the k-th.

        Lance cuts its list at any of several equal rows, so the list is made longer until its end is clearly worse
        than the k-th hit.
        """
        columns = ["position", "product_id", "group_id", "title", "category", "price", "image", "vector", "_distance"]
        limit = k + 16
        while True:
            query = self._table.search(vector_D).distance_type("cosine").limit(limit).select(columns)
            found = query.to_arrow()
            vectors_ND = found["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self.info.dims)
            scores_N = vectors_ND.astype(np.float64) @ vector_D.astype(np.float64)
            if len(scores_N) < limit or np.sort(scores_N)[::-1][k - 1] - scores_N.min() > TIE_TOLERANCE:
                break
            limit *= 2
        rows: list[dict[str, Any]] = found.drop_columns(["vector", "_distance"]).to_pylist()
        for row, score in zip(rows, scores_N, strict=True):
            # Equal vectors must tie even where the last bit of a long sum differs.
            row["score"] = round(float(score), 7)
        return rows

    def thumbnail(self, product_id: str) -> bytes | None:
        """JPEG of the product's first photograph, None when there is no such product or it has no photograph."""
        literal = product_id.replace("'", "''")
        found = self._table.search().where(f"product_id = '{literal}'").select(["thumbnail"]).limit(1).to_arrow()
        return found["thumbnail"][0].as_py() if found.num_rows else None


def read_index_info(folder: str | Path) -> IndexInfo:
    """The manifest of the index in `folder`.

    Raises:
        ServingError: There is none, or it has another schema version.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise ServingError(
            "not an index, or one whose writing was cut off", where=str(folder), fix="build the index again"
        )
    manifest = json.loads(path.read_text())
    if manifest.get("schema_version") != INDEX_SCHEMA_VERSION:
        raise ServingError(
            "index has another schema version",
            where=str(folder),
            got=str(manifest.get("schema_version")),
            allowed=str(INDEX_SCHEMA_VERSION),
            fix="build the index again",
        )
    return IndexInfo(**manifest)
