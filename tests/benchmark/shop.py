"""A small shop for the benchmark's tests: every picture is its own, every word is known."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from catalog import Catalog, ImageRecord, Product, Query, QueryKind, Side, Splits, sha256_hex

COLOURS = ("red", "green", "blue")
LEAVES = (("Wear", "Tops", "Shirts"), ("Wear", "Tops", "Hats"), ("Home", "Rugs", "Wool rugs"))


def picture(seed: int, side_px: int = 32) -> Image.Image:
    """A random patchwork; two seeds never look alike."""
    cells = np.random.default_rng(seed).integers(0, 256, size=(8, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((side_px, side_px), Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


class Shop:
    """Writes pictures below `root` and collects rows; `catalog()` hands them on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.products: list[Product] = []
        self.queries: list[Query] = []
        self.images: dict[str, ImageRecord] = {}
        self.sides: dict[str, Side] = {}

    def photo(self, ref: str, image: Image.Image | int, status: str = "ok") -> str:
        data = png(image if isinstance(image, Image.Image) else picture(image))
        path = self.root / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.images[ref] = ImageRecord(ref, sha256_hex(data), 32, 32, len(data), status)
        return ref

    def product(self, key: str, side: Side = Side.TEST, **fields: object) -> Product:
        row = Product.model_validate({"product_id": key, "title": f"Thing {key}", **fields})
        self.products.append(row)
        self.sides[key] = side
        return row

    def query(self, key: str, kind: QueryKind, products: tuple[str, ...], **fields: object) -> Query:
        row = Query.model_validate({"query_id": key, "kind": kind, "product_ids": products, **fields})
        self.queries.append(row)
        return row

    def link(self, key: str, anchors: tuple[str, ...], products: tuple[str, ...]) -> Query:
        return self.query(key, QueryKind.LINK, products, anchor_ids=anchors)

    def labelled(self, key: str, image: str, label: str) -> Query:
        return self.query(key, QueryKind.PHOTO_LABEL, (), image=image, label=label)

    def catalog(self) -> Catalog:
        return Catalog("shop", tuple(self.products), tuple(self.queries), dict(self.images), str(self.root), "shop")

    def splits(self) -> Splits:
        sides: dict[Side, list[Query]] = {side: [] for side in Side}
        for query in self.queries:
            if query.product_ids:
                sides[self.sides[query.product_ids[0]]].append(query)
        return Splits(dict(self.sides), {side: tuple(rows) for side, rows in sides.items()}, {})


def stocked(root: Path, num_test: int = 36, change: Callable[[Shop], None] | None = None) -> Shop:
    """A shop with all kinds of queries: two colours a group, two photos a product, and a train side."""
    shop = Shop(root)
    for index in range(num_test + 24):
        key, side = f"p{index:03d}", Side.TEST if index < num_test else Side.TRAIN
        colour, leaf = COLOURS[index % 3], LEAVES[(index // 2) % 3]
        shop.product(
            key,
            side,
            group_id=f"g{index // 2:03d}",
            title=f"{colour if index % 4 else ''} {leaf[-1]} model{index // 2}".strip(),
            category=leaf,
            attributes={"color": colour, "care": ["wash", "iron"] if index % 2 else "wash", "sku": f"s{index}"},
            description=f"The story of number{index // 2}. It was made by hand.",
            images=[shop.photo(f"images/{key}-{view}.png", 1000 * index + view) for view in range(2)],
            boxes=[(1, 1, 9, 9), None],
            url=f"https://shop.example/{'/'.join(leaf)}/{colour}",
            extra={"answer": colour},
        )
        if side is Side.TEST:
            image = shop.photo(f"images/q{index:03d}.png", 1000 * index + 500)
            shop.query(f"t{index:03d}", QueryKind.TEXT, (key,), text=f"number{index // 2} in {colour}")
            shop.query(f"i{index:03d}", QueryKind.PHOTO, (key,), image=image, box=(1, 1, 9, 9))
            if index % 2:
                other = shop.photo(f"images/b{index:03d}.png", 1000 * index + 600)
                shop.query(f"b{index:03d}", QueryKind.BOTH, (key,), image=other, text=f"{colour} one")
    if change:
        change(shop)
    return shop
