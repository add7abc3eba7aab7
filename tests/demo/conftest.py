"""One rendered shop for all tests that only look at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog import Catalog, DemoConfig, ImageRecord, Product, Query, sha256_hex
from catalog.demo import render_demo

SIDE_PX = 96
"""Below the default, to save time; the difficulty does not hang on it."""


@dataclass(frozen=True)
class Shop:
    products: list[Product]
    queries: list[Query]
    root: Path
    progress: list[tuple[int, int]]

    def catalog(self) -> Catalog:
        refs = [ref for product in self.products for ref in product.images]
        refs += [query.image for query in self.queries if query.image]
        images = {ref: ImageRecord(ref, sha256_hex((self.root / ref).read_bytes())) for ref in refs}
        return Catalog("demo", tuple(self.products), tuple(self.queries), images, root=str(self.root))


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("shop")
    progress: list[tuple[int, int]] = []
    config = DemoConfig(num_products=150, image_size_px=SIDE_PX, num_workers=2)
    products, queries = render_demo(config, str(root), lambda done, total: progress.append((done, total)))
    return Shop(products, queries, root, progress)
