"""Small catalogues in a folder, good ones and ones with a single fault."""

import numpy as np
from PIL import Image, ImageDraw

from catalog import CatalogConfig, Side, SplitConfig, split_catalog
from catalog.sources import load_catalog
from catalog.splits import split_position
from tests.catalog.pictures import write_folder
from validation.config import DataChecksConfig
from validation.data import check_catalog


def scene(seed, size=(160, 140)):
    """A picture unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(v) for v in rng.integers(90, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(10):
        x, y, w, h = (int(v) for v in rng.integers(0, 120, 4))
        draw.rectangle((x, y, x + w, y + h), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    return image


def saved(folder, name, image, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return name


def group_on(side, salt="moon-1", start=0):
    """A group id that the default split puts on `side`."""
    config = SplitConfig(salt=salt)
    for number in range(start, start + 10_000):
        position = split_position(salt, f"g{number}")
        found = Side.TEST if position < config.test_frac else Side.VAL if position < 0.3 else Side.TRAIN
        if found is side:
            return f"g{number}"
    raise AssertionError(side)


class Shop:
    """A folder of sound products, to be spoilt one fault at a time."""

    def __init__(self, folder, num_products=18):
        self.folder = folder
        self.products = []
        for number in range(num_products):
            image = saved(folder, f"images/{number}.png", scene(number))
            self.products.append(
                {
                    "product_id": f"p{number}",
                    "group_id": f"group{number}",
                    "title": f"Product number {number}",
                    "category": ["Shop", ("Left", "Middle", "Right")[number % 3]],
                    "attributes": {"color": "Red" if number % 4 else "Blue"},
                    "images": [image],
                    "price": 10.0 + number,
                }
            )
        self.queries = [
            {"query_id": f"q{number}", "kind": "text", "text": f"number {number}", "product_ids": [f"p{number}"]}
            for number in range(num_products)
        ]

    def add_photo(self, number, seed):
        name = saved(self.folder, f"images/more{seed}.png", scene(seed))
        self.products[number]["images"].append(name)
        return name

    def load(self, on_error="stop"):
        write_folder(self.folder, self.products, self.queries)
        return load_catalog(CatalogConfig(source="folder", path=str(self.folder)), work_dir="", on_error=on_error)

    def check(self, **config):
        catalog = self.load(config.get("on_error", "stop"))
        return check_catalog(catalog, split_catalog(catalog, SplitConfig()), DataChecksConfig(**config))


def found(verdict):
    """Names of the checks that found something."""
    return {finding.check for finding in verdict.findings}
