"""A tiny embedder and a tiny catalogue: everything the serving room needs from its neighbours."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from catalog import Catalog, Embedder, ImageRecord, Photo, Product, ProductItem, QueryItem, hide_fields, sha256_hex

DIMS = 16


class FakeEncoder:
    """Hashed words plus mean colours of the photographs; a pure function of the item."""

    name = "fake"
    digest = "f" * 64
    dims = DIMS
    modalities = frozenset({"text", "image"})

    def __init__(self) -> None:
        self.lineage: dict[str, object] = {"commit": "abc", "out_dir": "/home/someone/runs", "steps": 3}

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        rows = []
        for item in items:
            item = hide_fields(item, hide)
            words = " ".join([item.product.title or "", *item.product.category, str(dict(item.product.attributes))])
            rows.append(self._vector(words, item.photos))
        return self._stack(rows)

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        return self._stack([self._vector(item.text or "", (item.photo,) if item.photo else ()) for item in items])

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        return self._stack([self._vector(text, ()) for text in texts])

    def _vector(self, words: str, photos: tuple[Photo, ...]) -> np.ndarray:
        vector_D = np.full(DIMS, 1e-3)
        for word in words.lower().split():
            vector_D[hashlib.sha256(word.encode()).digest()[0] % (DIMS - 3)] += 1.0
        for photo in photos:
            vector_D[-3:] += np.asarray(photo.load().resize((8, 8)), dtype=np.float64).mean(axis=(0, 1)) / 255.0
        return (vector_D / np.linalg.norm(vector_D)).astype(np.float32)

    def _stack(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.stack(rows) if rows else np.zeros((0, DIMS), np.float32)


class TableEncoder(FakeEncoder):
    """Gives product `pN` the N-th row of a table, and fails at a chosen product."""

    def __init__(self, vectors_ND: np.ndarray, fail_at: int | None = None, error: BaseException | None = None) -> None:
        super().__init__()
        self.vectors_ND, self.fail_at, self.error = vectors_ND.astype(np.float32), fail_at, error
        self.dims = vectors_ND.shape[1]

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        places = [int(item.product.product_id[1:]) for item in items]
        if self.error is not None and self.fail_at in places:
            raise self.error
        return self.vectors_ND[places]


def picture(colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (40, 30), fmt: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format=fmt)
    return buffer.getvalue()


RED, GREEN = picture((200, 30, 30)), picture((30, 180, 40))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unit_rows(num: int, dims: int = DIMS, seed: int = 0) -> np.ndarray:
    rows_ND = np.random.default_rng(seed).normal(size=(num, dims))
    return (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float32)


def plain_catalog(num: int) -> Catalog:
    """`num` products p0, p1, ... with a title and no photograph."""
    products = tuple(Product(product_id=f"p{n}", group_id=f"g{n // 2}", title=f"product {n}") for n in range(num))
    return Catalog(name="plain", products=products)


COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 200), "grey": (128, 128, 128)}


def photo_catalog(folder: str) -> Catalog:
    """A mug in each colour, with a photograph below `folder`; one of them priced, one with an odd identifier."""
    from pathlib import Path

    (Path(folder) / "images").mkdir(parents=True, exist_ok=True)
    products, images = [], {}
    for name, colour in COLOURS.items():
        ref = f"images/{name}.png"
        data = picture(colour)
        (Path(folder) / ref).write_bytes(data)
        images[ref] = ImageRecord(ref, sha256_hex(data), 40, 30, len(data))
        products.append(
            Product(
                product_id=f"mug/{name}'s" if name == "grey" else f"mug-{name}",
                group_id="mug",
                title=f"{name} mug",
                category=("kitchen", "mugs"),
                attributes={"colour": name, "care": ("dishwasher", "microwave")},
                images=(ref,),
                price=9.5 if name == "red" else None,
            )
        )
    products.append(Product(product_id="card", group_id="card", title="gift card"))
    return Catalog(name="mugs", products=tuple(products), images=images, root=folder)


assert isinstance(FakeEncoder(), Embedder)
