"""The importer on a small clone made up here: colours, sizes, merging, links, and nothing half-written."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from catalog import CatalogConfig, CatalogError, StorageError
from catalog.sources import load_catalog, magento
from catalog.sources.html_text import plain_text
from catalog.sources.magento import import_magento_sample
from catalog.sources.magento_text import attributes_of, category_of, common_words, role_of

GEAR = "CatalogSampleData/fixtures/SimpleProduct"
SIMPLE = ["category", "name", "sku", "price", "description", "category_gear", "size", "color", "performance_fabric"]
CONFIGURABLE = [
    "sku", "product_type", "categories", "name", "description", "price", "base_image", "additional_images",
    "additional_attributes", "configurable_variations",
]  # fmt: skip


def variant(colour, size, image, more=""):
    return {
        "sku": f"MT1-{size}-{colour}",
        "product_type": "simple",
        "base_image": f"/m/t/{image}",
        "additional_images": more,
    }


def parent(*variants):
    cells = [f"sku={row['sku']},size={row['sku'].split('-')[1]},color={row['sku'].split('-')[2]}" for row in variants]
    return {
        "sku": "MT1",
        "product_type": "configurable",
        "categories": "Default Category/Collections/Sale,Default Category/Men/Tops/Tees,Default Category",
        "name": "Good Tee ",
        "description": "<p>Soft &amp; light.</p><ul><li>One.</li><li>Two</li></ul>",
        "price": "29",
        "additional_attributes": "material=LumaTech&trade;|Cotton,eco_collection=Yes,sale=No",
        "configurable_variations": "|".join(cells),
    }


def strap(sku, length):
    return {
        "category": "Gear\nFitness Equipment",
        "name": f"Yoga Strap {length}",
        "sku": sku,
        "price": "14",
        "description": "<p>Long.</p>",
        "category_gear": "Exercise\nYoga",
        "size": length,
        "performance_fabric": "1",
    }


@pytest.fixture
def clone(tmp_path):
    variants = [
        variant("Red", "S", "mt1-red_main.jpg", "/m/t/mt1-red_back.jpg"),
        variant("Red", "M", "mt1-red_main.jpg"),
        variant("Blue", "S", "mt1-blue_main.jpg"),
        variant("Navy", "S", "mt1-blue_main.jpg"),
    ]
    tables = {
        "ConfigurableSampleData/fixtures/products.csv": (CONFIGURABLE, [*variants, parent(*variants)]),
        f"{GEAR}/products_gear_fitness_equipment_strap.csv": (
            SIMPLE,
            [strap("24-A", "6 foot"), strap("24-B", "8 foot")],
        ),
        f"{GEAR}/images_gear_fitness_equipment.csv": (
            ["sku", "image"],
            [{"sku": sku, "image": "/l/u/strap.jpg"} for sku in ("24-A", "24-B")],
        ),
        "ConfigurableSampleData/fixtures/Links/related.csv": (
            ["sku", "linked_sku"],
            [{"sku": "MT1", "linked_sku": "24-B\n24-A\nGONE"}, {"sku": "24-A", "linked_sku": "24-B"}],
        ),
        "ReviewSampleData/fixtures/products_reviews.csv": (
            ["sku", "rating_value", "title", "review"],
            [
                {"sku": "MT1", "rating_value": "4", "title": "Nice", "review": " Fits well. "},
                {"sku": "GONE", "rating_value": "1", "title": "x", "review": "y"},
            ],
        ),
    }
    for products, images in magento._SIMPLE:
        tables.setdefault(products, (SIMPLE, []))
        tables.setdefault(images, (["sku", "image"], []))
    for name, (columns, rows) in tables.items():
        path = tmp_path / "clone/app/code/Magento" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
    for seed, name in enumerate(
        ["m/t/mt1-red_main.jpg", "m/t/mt1-red_back.jpg", "m/t/mt1-blue_main.jpg", "l/u/strap.jpg"]
    ):
        path = tmp_path / "clone/pub/media/catalog/product" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (8, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((500, 800)).save(path)
    return tmp_path / "clone"


def test_import(clone, tmp_path):
    out = tmp_path / "luma"
    assert import_magento_sample(str(clone), str(out)) == (3, 2)
    catalog = load_catalog(CatalogConfig(source="folder", path=str(out)), work_dir="")
    red, blue, merged = catalog.products
    assert (red.product_id, red.group_id, red.title, red.price) == ("MT1-Red", "MT1", "Good Tee", 29.0)
    assert red.category == ("Men", "Tops", "Tees")
    assert red.attributes == {
        "color": "Red", "eco_collection": "Yes", "material": ("LumaTech", "Cotton"), "size": ("S", "M"),
    }  # fmt: skip
    assert red.images == ("images/mt1-red_main.jpg", "images/mt1-red_back.jpg")
    assert red.image_roles == ("main", "back")
    assert red.description == "Soft & light.\n- One.\n- Two"
    assert blue.product_id == "MT1-Blue"
    assert (merged.product_id, merged.group_id, merged.title) == ("24-A", "24-A", "Yoga Strap")
    assert merged.attributes == {
        "gear_type": ("Exercise", "Yoga"), "performance_fabric": "Yes", "size": ("6 foot", "8 foot"),
    }  # fmt: skip
    assert merged.extra["merged_skus"] == ["24-A", "24-B"]
    link, review = catalog.queries
    assert (link.anchor_ids, link.product_ids) == (("MT1-Red", "MT1-Blue"), ("24-A",))
    assert (review.text, review.product_ids, review.extra["rating"]) == ("Fits well.", ("MT1-Red", "MT1-Blue"), 4)
    assert {(record.width_px, record.height_px, record.status) for record in catalog.images.values()} == {
        (240, 384, "ok")
    }
    info = [json.loads(line)["image_info"] for line in (out / "products.jsonl").read_text().splitlines()]
    assert info[0][0] == {"role": "main", "w": 240, "h": 384}


def test_refusals_leave_nothing(clone, tmp_path):
    with pytest.raises(CatalogError, match="not a clone"):
        import_magento_sample(str(tmp_path), str(tmp_path / "out"))
    (tmp_path / "there").mkdir()
    with pytest.raises(StorageError, match="there already"):
        import_magento_sample(str(clone), str(tmp_path / "there"))
    (clone / "pub/media/catalog/product/l/u/strap.jpg").write_bytes(b"")
    with pytest.raises(Exception, match="empty"):
        import_magento_sample(str(clone), str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clone", "there"]


def test_full_disk(clone, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(magento.shutil, "move", fail)
    with pytest.raises(StorageError, match="No space left"):
        import_magento_sample(str(clone), str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clone"]


def test_cells():
    assert plain_text("<p>A<br/>B&nbsp;&bull; c &bull;d</p>") == "A\nB\n- c\n- d"
    assert category_of("Default Category/Collections/New") == []
    assert attributes_of({"material": "", "sale": "1", "style_general": "&frac14; zip|Hooded"}) == {
        "style_general": ["¼ zip", "Hooded"]
    }
    assert [role_of(f"/m/b/{name}.jpg") for name in ("mb-0", "mb_alt1", "mb_side_b")] == ["main", "alt", "side"]
    assert common_words("Yoga Strap 6 foot", "Yoga Strap 60 foot") == "Yoga Strap"
