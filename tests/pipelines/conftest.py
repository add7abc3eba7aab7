"""A ZenML client, an MLflow store, a Bento store and working folders of the tests' own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from zenml.client import Client
from zenml.config.global_config import GlobalConfiguration

from moon.stack import set_up_stack

LEAVES = ("Shirts", "Shoes", "Bags")
COLOURS = ("red", "green", "blue", "black")


@dataclass(frozen=True)
class Workplace:
    """Everything the pipelines of a test session write to."""

    root: Path
    shop: Path
    recipe: Path
    tracking_uri: str

    def mlflow(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(tracking_uri=self.tracking_uri)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """An isolated home; the user's own ZenML, MLflow and Bentos are never touched."""
    root = tmp_path_factory.mktemp("workplace")
    ours = {
        "ZENML_CONFIG_PATH": str(root / "zenml"),
        "ZENML_REPOSITORY_PATH": str(root),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "MOON_WORK": str(root / "work"),
        "BENTOML_HOME": str(root / "bentos"),
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    set_up_stack(root)
    shop = root / "shop"
    make_shop(shop, num_products=60)
    yield Workplace(root, shop, write_recipe(root, shop), f"sqlite:///{root / 'mlflow.db'}")
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    GlobalConfiguration._reset_instance()
    Client._reset_instance()


def make_shop(folder: Path, num_products: int) -> None:
    """A folder catalogue of plain pictures: two for each product, a third for its shopper."""
    (folder / "images").mkdir(parents=True)
    products, queries = [], []
    for index in range(num_products):
        leaf, colour = LEAVES[index % 3], COLOURS[index % 4]
        refs = []
        for view in range(3):
            ref = f"images/p{index}-{view}.png"
            draw_photo(folder / ref, index, view)
            refs.append(ref)
        asked = refs.pop()
        key = f"p{index}"
        products.append(
            {
                "product_id": key,
                "title": f"{colour} {leaf[:-1].lower()} number {index}",
                "category": ["Wear", leaf],
                "attributes": {"colour": colour},
                "images": refs,
            }
        )
        bought = {"product_ids": [key], "signal": "purchase"}
        queries.append({"query_id": f"photo-{index}", "kind": "photo", "image": asked, **bought})
        queries.append({"query_id": f"text-{index}", "kind": "text", "text": f"{colour} {leaf} {index}", **bought})
    for name, rows in (("products", products), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def draw_photo(path: Path, index: int, view: int) -> None:
    """A patterned shape; no two photographs are near-identical."""
    rng = np.random.default_rng([index, view])
    noise = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((48, 48), Image.Resampling.BICUBIC)
    colour = tuple(int(value) for value in np.random.default_rng(index).integers(0, 256, 3))
    left, top = (int(value) for value in rng.integers(4, 16, 2))
    ImageDraw.Draw(photo).rectangle((left, top, left + 24, top + 24), fill=colour)
    photo.save(path)


def write_recipe(root: Path, shop: Path) -> Path:
    """The smallest training that goes through every step; its gate asks for next to nothing."""
    tree = {
        "catalog": {"source": "folder", "path": str(shop)},
        "model": {
            "image_side_px": 32,
            "embedding_dims": 32,
            "nano": {"hidden_size": 32, "ffn_size": 64, "vision_hidden_size": 32, "vision_ffn_size": 64},
        },
        "train": {"steps": 4, "batch_size": 8, "log_every_steps": 1, "num_threads": 1},
        "benchmark": {"num_bootstrap": 100},
        "gate": {"policy": {"floors": {"image_to_product/recall@1": 0.0}}},
        "serving": {"thumbnail_px": 16},
    }
    path = root / "tiny.yaml"
    path.write_text(yaml.safe_dump({"parameters": {"config": tree}}), encoding="utf-8")
    return path
