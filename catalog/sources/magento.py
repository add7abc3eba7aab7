"""The public Magento sample store as a catalogue folder, so that anyone can repeat numbers measured on it.

Reads the CSV fixtures and product photographs of a clone of github.com/magento/magento2-sample-data (OSL-3.0: the
folder made from it is under the same licence). What becomes of them: a configurable article gives one product a
colour, its sizes become a list; articles that differ in length alone and share their photographs are merged; the
longest path below Men, Women, Gear or Training is the category; photographs are shrunk and lose their metadata.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from catalog.errors import CatalogError, StorageError
from catalog.images import Photo
from catalog.sources.html_text import plain_text
from catalog.sources.magento_text import attributes_of, category_of, common_words, lines_of, role_of

logger = logging.getLogger(__name__)

MAX_SIDE_PX = 384
JPEG_QUALITY = 85

_FIXTURES = "app/code/Magento"
_PHOTOS = "pub/media/catalog/product"
_ORIGIN = {"source": "github.com/magento/magento2-sample-data", "licence": "OSL-3.0"}
_GEAR = "CatalogSampleData/fixtures/SimpleProduct"
# Tables of single articles, each with the table of their photographs.
_SIMPLE = (
    (f"{_GEAR}/products_gear_bags.csv", f"{_GEAR}/images_gear_bags.csv"),
    (f"{_GEAR}/products_gear_fitness_equipment.csv", f"{_GEAR}/images_gear_fitness_equipment.csv"),
    (f"{_GEAR}/products_gear_fitness_equipment_ball.csv", f"{_GEAR}/images_gear_fitness_equipment.csv"),
    (f"{_GEAR}/products_gear_fitness_equipment_strap.csv", f"{_GEAR}/images_gear_fitness_equipment.csv"),
    (f"{_GEAR}/products_gear_watches.csv", f"{_GEAR}/images_gear_watches.csv"),
    ("BundleSampleData/fixtures/yoga_bundle.csv", "BundleSampleData/fixtures/images_yoga_bundle.csv"),
    ("GroupedProductSampleData/fixtures/yoga_grouped.csv", "GroupedProductSampleData/fixtures/images_yoga_grouped.csv"),
    (
        "DownloadableSampleData/fixtures/products_training_video_download.csv",
        "DownloadableSampleData/fixtures/images_products_training_video.csv",
    ),
)
_LINKS = (
    "CatalogSampleData/fixtures/Links",
    "ConfigurableSampleData/fixtures/Links",
    "BundleSampleData/fixtures/Links",
    "GroupedProductSampleData/fixtures/Link",
    "DownloadableSampleData/fixtures/Links",
)

Row = dict[str, Any]


def import_magento_sample(src: str, out: str, progress: Callable[[int, int], None] | None = None) -> tuple[int, int]:
    """Make a catalogue folder at `out` from a clone at `src`.

    Args:
        src: Folder of the clone, with `app/` and `pub/`.
        out: Folder to make; it appears whole or not at all.
        progress: Called with the number of photographs done and in all.

    Returns:
        How many products and queries were written.

    Raises:
        CatalogError: `src` is not such a clone.
        StorageError: `out` is there already or cannot be written.
    """
    root = Path(src)
    if not (root / _FIXTURES / "ConfigurableSampleData").is_dir() or not (root / _PHOTOS).is_dir():
        raise CatalogError(
            "not a clone of magento2-sample-data",
            where=str(src),
            allowed=f"a folder with {_FIXTURES}/ConfigurableSampleData and {_PHOTOS}",
            fix="git clone https://github.com/magento/magento2-sample-data",
        )
    if os.path.exists(out):
        raise StorageError("the folder to make is there already", where=out, fix="remove it or choose another name")
    products = [*_configurable(root), *_merged(_simple(root))]
    queries = _numbered([*_links(root, products), *_reviews(root, products)])
    parent = os.path.dirname(os.path.abspath(out))
    try:
        os.makedirs(parent, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".importing-") as work:
            folder = Path(work, "catalog")
            _write_photos(root, folder, products, progress)
            for name, rows in (("products", products), ("queries", queries)):
                text = "".join(json.dumps(_public(row), ensure_ascii=False) + "\n" for row in rows)
                (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
            shutil.move(str(folder), out)
    except OSError as error:
        raise StorageError(
            "the catalogue folder cannot be written",
            where=error.filename or out,
            got=error.strerror or str(error),
            fix="make room or choose another folder",
        ) from None
    logger.info("%d products and %d queries written to %s", len(products), len(queries), out)
    return len(products), len(queries)


def _table(root: Path, name: str) -> list[dict[str, str]]:
    path = root / _FIXTURES / name
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError("a fixture of the clone cannot be read", where=str(path), got=str(error)) from None


def _configurable(root: Path) -> Iterator[Row]:
    """One product for each colour of each article; sizes that are sold in it become its size attribute."""
    rows = _table(root, "ConfigurableSampleData/fixtures/products.csv")
    by_sku = {row["sku"]: row for row in rows}
    for parent in rows:
        if parent["product_type"] != "configurable":
            continue
        colours: dict[str, list[dict[str, str]]] = {}
        sizes: dict[str, list[str]] = {}
        for variation in parent["configurable_variations"].split("|"):
            named = dict(pair.split("=", 1) for pair in variation.split(","))
            colours.setdefault(named["color"], []).append(by_sku[named["sku"]])
            sizes.setdefault(named["color"], []).append(named["size"])
        shown: set[tuple[str, ...]] = set()
        for colour, variants in colours.items():
            photos = _photos_of(variants)
            # Colours that show the same photographs are one product for anyone who looks.
            if photos in shown:
                continue
            shown.add(photos)
            yield {
                "product_id": f"{parent['sku']}-{colour}",
                "group_id": parent["sku"],
                "title": parent["name"].strip(),
                "category": category_of(parent["categories"]),
                "attributes": attributes_of(
                    dict(pair.split("=", 1) for pair in parent["additional_attributes"].split(","))
                    | {"color": colour, "size": "|".join(dict.fromkeys(sizes[colour]))}
                ),
                "description": plain_text(parent["description"]),
                "photos": photos,
                "price": float(parent["price"]) if parent["price"] else None,
                "skus": [parent["sku"], *(variant["sku"] for variant in variants)],
            }


def _photos_of(variants: list[dict[str, str]]) -> tuple[str, ...]:
    found = []
    for variant in variants:
        found += [variant["base_image"], *variant["additional_images"].split(",")]
    return tuple(dict.fromkeys(photo for photo in found if photo))


def _simple(root: Path) -> Iterator[Row]:
    for table, photo_table in _SIMPLE:
        photos: dict[str, list[str]] = {}
        for row in _table(root, photo_table):
            photos.setdefault(row["sku"], []).append(row["image"])
        for row in _table(root, table):
            yield {
                "product_id": row["sku"],
                "group_id": row["sku"],
                "title": row["name"].strip(),
                "category": lines_of(row["category"])[:2],
                "attributes": attributes_of(row),
                "description": plain_text(row["description"]),
                "photos": tuple(photos.get(row["sku"], ())),
                "price": float(row["price"]) if row.get("price") else None,
                "skus": [row["sku"]],
            }


def _merged(rows: Iterator[Row]) -> list[Row]:
    """Articles of one kind and one set of photographs, sold in several sizes, as one product a colour."""
    found: dict[Any, Row] = {}
    for row in rows:
        sizes = row["attributes"].get("size")
        key = (row["photos"], row["attributes"].get("color")) if sizes else row["product_id"]
        first = found.setdefault(key, row)
        if first is not row:
            first["skus"] += row["skus"]
            first["attributes"]["size"] += sizes
            first["title"] = common_words(first["title"], row["title"])
    for row in found.values():
        if len(row["skus"]) > 1:
            row["merged_skus"] = list(row["skus"])
            row["group_id"] = (
                row["product_id"].rpartition("-")[0] if "color" in row["attributes"] else row["product_id"]
            )
    return list(found.values())


def _ids_by_sku(products: list[Row]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {}
    for product in products:
        for sku in product["skus"]:
            ids.setdefault(sku, []).append(product["product_id"])
    return ids


def _links(root: Path, products: list[Row]) -> Iterator[Row]:
    ids = _ids_by_sku(products)
    for folder in _LINKS:
        for link in ("related", "upsell", "crosssell"):
            if not (root / _FIXTURES / folder / f"{link}.csv").exists():
                continue
            for row in _table(root, f"{folder}/{link}.csv"):
                anchors = ids.get(row["sku"], [])
                answers = dict.fromkeys(key for sku in lines_of(row["linked_sku"]) for key in ids.get(sku, ()))
                # Merged sizes may link to each other.
                others = [key for key in answers if key not in anchors]
                if anchors and others:
                    yield {"type": "link", "link": link, "anchor_ids": anchors, "product_ids": others}


def _reviews(root: Path, products: list[Row]) -> Iterator[Row]:
    ids = _ids_by_sku(products)
    for row in _table(root, "ReviewSampleData/fixtures/products_reviews.csv"):
        answers, text = ids.get(row["sku"], []), row["review"].strip()
        if answers and text:
            yield {
                "type": "review",
                "title": row["title"].strip(),
                "text": text,
                "rating": int(row["rating_value"]),
                "product_ids": answers,
            }


def _numbered(queries: list[Row]) -> list[Row]:
    return [{**query, "query_id": f"luma-{number:04d}"} for number, query in enumerate(queries)]


def _write_photos(root: Path, folder: Path, products: list[Row], progress: Callable[[int, int], None] | None) -> None:
    """Shrink each photograph once and put references, roles and sizes into the rows."""
    (folder / "images").mkdir(parents=True)
    sizes: dict[str, tuple[int, int]] = {}
    wanted = list(dict.fromkeys(photo for product in products for photo in product["photos"]))
    for done, photo in enumerate(wanted, start=1):
        image = Photo(photo.lstrip("/"), str(root / _PHOTOS)).load()
        image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
        sizes[photo] = image.size
        image.save(folder / _reference(photo), "JPEG", quality=JPEG_QUALITY, optimize=True)
        if progress:
            progress(done, len(wanted))
    for product in products:
        product["images"] = [_reference(photo) for photo in product["photos"]]
        product["image_info"] = [
            {"role": role_of(photo), "w": sizes[photo][0], "h": sizes[photo][1]} for photo in product["photos"]
        ]


def _reference(photo: str) -> str:
    return f"images/{Path(photo).stem}.jpg"


def _public(row: Row) -> Row:
    """The row as it is written: without what only the import needs, with where it comes from."""
    kept = {name: value for name, value in row.items() if name not in ("photos", "skus")}
    return kept | _ORIGIN if "product_id" in row else kept
