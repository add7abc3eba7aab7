"""Pictures whose answer is known, and catalogues made of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from catalog import Box, Catalog, ImageRecord, Product, Query, QueryKind, sha256_hex


def background(kind: str, size_px: tuple[int, int], seed: int = 0) -> Image.Image:
    """A plain, white, gradient or noisy picture."""
    width, height = size_px
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 255.0 if kind == "white" else 170.0)
    if kind == "gradient":
        pixels = pixels * 0.0 + np.linspace(130.0, 210.0, width)[None, :, None]
    if kind == "noise":
        pixels = rng.normal(150.0, 18.0, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def with_rectangle(image: Image.Image, box: Box, colour: tuple[int, int, int] = (190, 30, 40)) -> Image.Image:
    """`image` with a filled rectangle of exactly `box` (whole pixels, end exclusive)."""
    image = image.copy()
    ImageDraw.Draw(image).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=colour)
    return image


def png_bytes(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def catalog_of(folder: Path, pictures: Mapping[str, Image.Image | bytes], query_ref: str = "") -> Catalog:
    """A catalogue with one product a picture, written below `folder`; `query_ref` is a shopper's photo instead."""
    records, products = {}, []
    queries: list[Query] = []
    for index, (ref, picture) in enumerate(pictures.items()):
        data = picture if isinstance(picture, bytes) else png_bytes(picture)
        path = folder / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        size = picture.size if isinstance(picture, Image.Image) else (0, 0)
        records[ref] = ImageRecord(ref, sha256_hex(data), size[0], size[1], len(data))
        if ref == query_ref:
            queries.append(Query(query_id="q", kind=QueryKind.PHOTO, image=ref, product_ids=("p0",)))
        else:
            products.append(Product(product_id=f"p{index}", group_id=f"g{index}", title=f"Mug {index}", images=(ref,)))
    return Catalog("pictures", tuple(products), tuple(queries), records, root=str(folder))
