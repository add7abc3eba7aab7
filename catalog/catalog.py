"""A catalogue in memory and on disk: two tables, a digest per image and one over all.

The rows are held in memory, the photographs never: they are read one at a time through `Photo`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from catalog.errors import CatalogError, StorageError
from catalog.images import ImageLimits, Photo
from catalog.items import ProductItem, QueryItem
from catalog.rows import SCHEMA_VERSION, Product, Query

EMBEDDED_ROOT = "images.embedded"
"""Image root of a catalogue whose pictures lie inside its own folder, under images/."""

IMAGE_OK = "ok"

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ImageRecord:
    """What ingestion saw of one image file without keeping it."""

    ref: str
    digest: str = ""
    width_px: int = 0
    height_px: int = 0
    num_bytes: int = 0
    status: str = IMAGE_OK
    """`ok`, or the reason why the file cannot be used."""


@dataclass(frozen=True)
class BadRow:
    """A row or image that cannot be used, and why."""

    where: str
    """file:line, or the image's reference."""
    product_id: str
    reason: str


@dataclass(frozen=True)
class Catalog:
    """Products, queries and the record of their images.

    `root` is an fsspec path that image references are relative to. It may be absolute while in memory; on disk a
    catalogue keeps `image_root` instead: EMBEDDED_ROOT, or the path as the user's recipe has it.
    """

    name: str
    products: tuple[Product, ...]
    queries: tuple[Query, ...] = ()
    images: dict[str, ImageRecord] = field(default_factory=dict)
    root: str = ""
    image_root: str = ""
    bad_rows: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()
    """What ingestion changed or ignored, for a person to read: stripped characters, unknown columns."""

    @cached_property
    def by_id(self) -> dict[str, Product]:
        return {product.product_id: product for product in self.products}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all rows and image digests; independent of their order and of where the folder lies."""
        total = hashlib.sha256(f"moon-catalog-{SCHEMA_VERSION}".encode())
        rows = [product.model_dump_json() for product in self.products]
        rows += [query.model_dump_json() for query in self.queries]
        rows += [f"{record.ref}:{record.digest}:{record.status}" for record in self.images.values()]
        for row in sorted(rows):
            total.update(hashlib.sha256(row.encode()).digest())
        return total.hexdigest()

    def photo(self, ref: str, box: Any = None, role: str = "") -> Photo:
        """The photograph at `ref`, verified against its digest whenever it is read."""
        record = self.images.get(ref)
        if record is None:
            return Photo(ref=ref, root=self.root, box=box, role=role)
        accepted = ImageLimits(record.num_bytes, record.width_px * record.height_px)
        return Photo(ref=ref, root=self.root, digest=record.digest, box=box, role=role, accepted=accepted)

    def item(self, product: Product) -> ProductItem:
        """`product` with its photographs, without any that ingestion could not use."""
        boxes = product.boxes or (None,) * len(product.images)
        roles = product.image_roles or ("",) * len(product.images)
        shots = zip(product.images, boxes, roles, strict=True)
        photos = (self.photo(*shot) for shot in shots if self._may_be_read(shot[0]))
        return ProductItem(product, tuple(photos))

    def _may_be_read(self, ref: str) -> bool:
        record = self.images.get(ref)
        return record is None or record.status == IMAGE_OK

    def items(self, product_ids: Iterable[str] | None = None) -> Iterator[ProductItem]:
        """Items in the catalogue's order, or in the order of `product_ids`."""
        chosen = self.products if product_ids is None else (self.by_id[key] for key in product_ids)
        return (self.item(product) for product in chosen)

    def query_item(self, query: Query) -> QueryItem:
        """`query` with its photograph; relevance stays behind."""
        photo = self.photo(query.image, query.box) if query.image else None
        return QueryItem(query.query_id, query.text, photo)

    def subset(self, product_ids: Iterable[str]) -> Catalog:
        """The catalogue with only these products, the queries that can still be asked, and their images.

        A query loses its answers and anchors that are gone, and goes itself when none is left of either.
        """
        keep = set(product_ids)
        products = tuple(product for product in self.products if product.product_id in keep)
        queries = tuple(
            query.model_copy(
                update={
                    "product_ids": tuple(key for key in query.product_ids if key in keep),
                    "anchor_ids": tuple(key for key in query.anchor_ids if key in keep),
                }
            )
            for query in self.queries
            if (not query.product_ids or keep.intersection(query.product_ids))
            and (not query.anchor_ids or keep.intersection(query.anchor_ids))
        )
        refs = {ref for product in products for ref in product.images} | {q.image for q in queries if q.image}
        images = {ref: record for ref, record in self.images.items() if ref in refs}
        return replace(self, products=products, queries=queries, images=images)


def resolve_root(path: str) -> str:
    """Where a recipe's path lies on this machine.

    A leading `data/` follows the variable MOON_DATA; everything else is relative to the working folder. A URL is
    left as it is.
    """
    if "://" in path:
        return path
    moon_data = os.environ.get("MOON_DATA")
    if moon_data and (path == "data" or path.startswith("data/")):
        path = os.path.join(moon_data, os.path.relpath(path, "data"))
    return os.path.abspath(path)


_PRODUCT_SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("group_id", pa.string()),
        ("title", pa.string()),
        ("category", pa.list_(pa.string())),
        ("attributes", pa.string()),
        ("description", pa.string()),
        ("images", pa.list_(pa.string())),
        ("image_roles", pa.list_(pa.string())),
        ("boxes", pa.list_(pa.list_(pa.float64()))),
        ("price", pa.float64()),
        ("url", pa.string()),
        ("extra", pa.string()),
    ]
)
_QUERY_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("kind", pa.string()),
        ("text", pa.string()),
        ("image", pa.string()),
        ("box", pa.list_(pa.float64())),
        ("product_ids", pa.list_(pa.string())),
        ("anchor_ids", pa.list_(pa.string())),
        ("label", pa.string()),
        ("timestamp", pa.float64()),
        ("weight", pa.float64()),
        ("signal", pa.string()),
        ("augmented", pa.bool_()),
        ("extra", pa.string()),
    ]
)
_IMAGE_SCHEMA = pa.schema(
    [
        ("ref", pa.string()),
        ("digest", pa.string()),
        ("width_px", pa.int64()),
        ("height_px", pa.int64()),
        ("num_bytes", pa.int64()),
        ("status", pa.string()),
    ]
)
_JSON_COLUMNS = ("attributes", "extra")


def write_catalog(catalog: Catalog, folder: str) -> None:
    """Write the tables and the manifest into `folder`; the images are the caller's to copy when embedded.

    Args:
        catalog: What to write.
        folder: An fsspec path of an empty or absent folder. The manifest is written last, so a folder without one
            is an unfinished write and is refused when read.

    Raises:
        StorageError: The folder cannot be written: no space, read-only.
    """
    tables = {
        "products": _table([p.model_dump(mode="json") for p in catalog.products], _PRODUCT_SCHEMA),
        "queries": _table([q.model_dump(mode="json") for q in catalog.queries], _QUERY_SCHEMA),
        "images": _table([vars(record) for record in catalog.images.values()], _IMAGE_SCHEMA),
    }
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": catalog.name,
        "digest": catalog.digest,
        "image_root": catalog.image_root,
        "num_products": len(catalog.products),
        "num_queries": len(catalog.queries),
        "num_images": len(catalog.images),
        "bad_rows": [vars(row) for row in catalog.bad_rows],
        "notes": list(catalog.notes),
    }
    try:
        fs, base = fsspec.url_to_fs(folder)
        fs.makedirs(base, exist_ok=True)
        if fs.exists(f"{base}/{_MANIFEST}"):
            # An older manifest beside half of the new tables would pass for a finished write.
            fs.rm(f"{base}/{_MANIFEST}")
        for name, table in tables.items():
            with fs.open(f"{base}/{name}.parquet", "wb") as stream:
                pq.write_table(table, stream)
        with fs.open(f"{base}/{_MANIFEST}", "w", encoding="utf-8") as stream:
            json.dump(manifest, stream, ensure_ascii=False, indent=1)
    except OSError as error:
        raise StorageError(
            "the catalogue cannot be written",
            where=error.filename or folder,
            got=error.strerror or str(error),
            fix="make room, or choose another folder",
        ) from None


def copy_images(catalog: Catalog, folder: str) -> None:
    """Copy the images of a catalogue into `folder`, which is to keep its tables too.

    Raises:
        ImageError: An image changed since it was ingested; it is refused here and not later.
    """
    fs, base = fsspec.url_to_fs(folder)
    for parent in {f"{base}/{ref}".rpartition("/")[0] for ref in catalog.images}:
        fs.makedirs(parent, exist_ok=True)
    for ref, record in catalog.images.items():
        if record.digest:
            fs.pipe_file(f"{base}/{ref}", catalog.photo(ref).read_bytes())


def read_catalog(folder: str) -> Catalog:
    """Read what `write_catalog` wrote and verify its digest.

    Raises:
        CatalogError: No manifest, another schema version, files that are damaged, or rows that do not match the
            digest.
    """
    fs, base = fsspec.url_to_fs(folder)
    if not fs.exists(f"{base}/{_MANIFEST}"):
        raise CatalogError(
            "not a catalogue artifact, or one whose writing was cut off", where=folder, fix="ingest the source again"
        )
    try:
        with fs.open(f"{base}/{_MANIFEST}", "r", encoding="utf-8") as stream:
            manifest = json.load(stream)
        version = manifest.get("schema_version")
        if version == SCHEMA_VERSION:
            return _read_tables(fs, base, folder, manifest)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogError(
            "catalogue artifact is damaged", where=folder, got=f"{error}"[:200], fix="ingest the source again"
        ) from None
    raise CatalogError(
        "catalogue artifact has another schema version",
        where=folder,
        got=str(version),
        allowed=str(SCHEMA_VERSION),
        fix="ingest the source again",
    )


def _read_tables(fs: AbstractFileSystem, base: str, folder: str, manifest: dict[str, Any]) -> Catalog:
    rows = {}
    for name in ("products", "queries", "images"):
        with fs.open(f"{base}/{name}.parquet", "rb") as stream:
            rows[name] = pq.read_table(stream).to_pylist()
    image_root = manifest["image_root"]
    catalog = Catalog(
        name=manifest["name"],
        products=tuple(Product.model_validate(_from_json(row)) for row in rows["products"]),
        queries=tuple(Query.model_validate(_from_json(row)) for row in rows["queries"]),
        images={row["ref"]: ImageRecord(**row) for row in rows["images"]},
        root=folder if image_root == EMBEDDED_ROOT else resolve_root(image_root),
        image_root=image_root,
        bad_rows=tuple(BadRow(**row) for row in manifest["bad_rows"]),
        notes=tuple(manifest["notes"]),
    )
    if catalog.digest != manifest["digest"]:
        raise CatalogError(
            "catalogue artifact does not match its digest",
            where=folder,
            got=catalog.digest[:12],
            allowed=manifest["digest"][:12],
            fix="the folder was changed by hand; ingest the source again",
        )
    return catalog


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    packed = [
        {name: json.dumps(value, ensure_ascii=False) if name in _JSON_COLUMNS else value for name, value in row.items()}
        for row in rows
    ]
    return pa.Table.from_pylist(packed, schema=schema)


def _from_json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.loads(value) if name in _JSON_COLUMNS and value else value for name, value in row.items()}
