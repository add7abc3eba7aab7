"""Every check finds its fault and only that; a sound shop passes."""

import random

import pytest
from PIL import Image
from pydantic import ValidationError

from catalog import ImageError, Side, SplitConfig, split_catalog
from tests.catalog.pictures import bomb_bytes, picture_bytes
from tests.data_checks.shops import Shop, found, group_on, saved, scene
from validation.checks import CHECKS, Level
from validation.config import DataChecksConfig
from validation.data import check_catalog


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "shop")


def test_sound_shop_passes_and_is_left_alone(shop):
    verdict = shop.check()
    assert verdict.findings == ()
    assert verdict.passed
    assert verdict.catalog == shop.load()
    assert verdict.quarantined == ()


def test_labelled_photos_alone_pass(tmp_path):
    shop = Shop(tmp_path / "photos", num_products=0)
    shop.queries = [
        {"query_id": f"q{n}", "kind": "photo_label", "image": saved(shop.folder, f"{n}.png", scene(n)), "label": "hat"}
        for n in range(4)
    ]
    shop.products = []
    assert shop.check().findings == ()


def spoil_title_present(shop):
    for row in shop.products[:3]:
        row["title"] = None


def spoil_title_length(shop):
    shop.products[0]["title"] = "x" * 301
    shop.products[1]["title"] = "x"


def spoil_title_markup(shop):
    shop.products[0]["title"] = "Fit&trade; shirt"
    shop.products[1]["title"] = "A <b>bold</b> shirt"
    shop.products[2]["title"] = "Salt & pepper; a < b > c"


def spoil_photo_present(shop):
    for row in shop.products[:3]:
        row["images"] = []


def spoil_category_present(shop):
    for row in shop.products[:2]:
        row["category"] = []


def spoil_category_depth(shop):
    for number in range(0, 18, 3):
        shop.products[number]["category"] = ["a", "b", "c", "d", "e", "f", "g"]


def spoil_attributes_present(shop):
    for row in shop.products[:10]:
        row["attributes"] = {}


def spoil_price_range(shop):
    shop.products[0]["price"] = 2e6


def spoil_leaf_size(shop):
    shop.products[0]["category"] = ["Shop", "Attic"]


def spoil_leaf_share(shop):
    for row in shop.products:
        row["category"] = ["Shop", "All"]


def spoil_image_size(shop):
    saved(shop.folder, "images/0.png", scene(0).resize((60, 60)))


def spoil_image_aspect(shop):
    saved(shop.folder, "images/0.png", scene(0).resize((600, 100)))


def spoil_box_inside(shop):
    shop.products[0]["boxes"] = [[0, 0, 161, 140]]
    shop.products[1]["boxes"] = [[0, 0, 160, 140]]
    shop.products[2]["boxes"] = [[-3, 0, 160, 140]]


def spoil_identical_across_groups(shop):
    shop.products[0]["group_id"], shop.products[1]["group_id"] = group_on(Side.TRAIN), group_on(Side.TRAIN, start=500)
    (shop.folder / "images/1.png").write_bytes((shop.folder / "images/0.png").read_bytes())


def spoil_near_identical_across_groups(shop):
    shop.products[0]["group_id"], shop.products[1]["group_id"] = group_on(Side.TRAIN), group_on(Side.TRAIN, start=500)
    shop.products[1]["images"] = [saved(shop.folder, "images/1.jpg", scene(0).resize((130, 114)), quality=70)]


def spoil_query_text_length(shop):
    shop.queries[0]["text"] = "x"


def spoil_query_photo_near_gallery(shop):
    name = saved(shop.folder, "asked.jpg", scene(3), quality=70)
    shop.queries.append({"query_id": "photo", "kind": "photo", "image": name, "product_ids": ["p3"]})


WARNINGS = {
    "title_present": 3,
    "title_length": 2,
    "title_markup": 2,
    "photo_present": 3,
    "category_present": 2,
    "category_depth": 6,
    "attributes_present": 10,
    "price_range": 1,
    "leaf_size": 1,
    "leaf_share": 1,
    "image_size": 1,
    "image_aspect": 1,
    "box_inside": 2,
    "identical_across_groups": 2,
    "near_identical_across_groups": 2,
    "query_text_length": 1,
    "query_photo_near_gallery": 1,
}


@pytest.mark.parametrize("check", WARNINGS)
def test_warning_is_reported_and_does_not_stop(shop, check):
    globals()[f"spoil_{check}"](shop)
    verdict = shop.check()
    assert found(verdict) == {check}
    (finding,) = verdict.findings
    assert (finding.level, finding.num_bad) == (Level.WARNING, WARNINGS[check])
    assert len(finding.examples) == min(6, finding.num_bad)
    assert verdict.passed
    assert finding.fix in verdict.html


def test_attribute_coverage(shop):
    shop.products[0]["attributes"]["rare"] = "x"
    assert shop.check().findings == ()
    verdict = shop.check(min_attribute_coverage_frac=0.1)
    assert found(verdict) == {"attribute_coverage"}
    assert verdict.findings[0].examples[0].startswith("rare")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("zero.png", b"", "empty"),
        ("text.jpg", b"just text", "not a picture"),
        ("cut.jpg", picture_bytes(0, (100, 100), kind="JPEG")[:-500], "truncated"),
        ("bomb.png", bomb_bytes(), "bomb"),
        ("absent.png", None, "missing"),
    ],
)
def test_unusable_photo_stops(shop, name, data, reason):
    if data is not None:
        (shop.folder / name).write_bytes(data)
    shop.products[4]["images"].append(name)
    verdict = shop.check()
    assert found(verdict) == {"image_usable"}
    assert not verdict.passed
    assert verdict.catalog == shop.load()
    text = str(verdict.to_error())
    assert all(part in text for part in ("p4", name, reason, "quarantine", "image_usable"))


def test_product_without_title_and_with_a_broken_photo_has_no_content(shop):
    shop.products[4] |= {"title": None, "images": ["absent.png"]}
    verdict = shop.check()
    assert found(verdict) == {"image_usable", "product_has_content"}
    assert next(one.examples for one in verdict.findings if one.check == "product_has_content") == ("p4",)


def test_broken_query_photo_stops(shop):
    shop.queries.append({"query_id": "x", "kind": "photo", "image": "absent.png", "product_ids": ["p3"]})
    verdict = shop.check()
    assert found(verdict) == {"query_photo_usable"}
    assert not verdict.passed


def test_photo_on_both_sides_of_the_split_stops(shop):
    shop.products[0]["group_id"], shop.products[1]["group_id"] = group_on(Side.TRAIN), group_on(Side.TEST)
    shop.products[1]["images"].append(shop.products[0]["images"][0])
    verdict = shop.check()
    assert found(verdict) == {"identical_across_groups", "identical_across_sides"}
    across = next(one for one in verdict.findings if one.check == "identical_across_sides")
    assert across.examples == ("p0 images/0.png: p1",)
    assert not verdict.passed


def test_near_identical_photo_on_both_sides_warns(shop):
    shop.products[0]["group_id"], shop.products[1]["group_id"] = group_on(Side.VAL), group_on(Side.TEST)
    shop.products[1]["images"] = [saved(shop.folder, "images/1.jpg", scene(0), quality=80)]
    verdict = shop.check()
    assert found(verdict) == {"near_identical_across_groups", "near_identical_across_sides"}
    assert verdict.passed


def test_variants_of_one_group_may_share_their_photos(shop):
    shop.products[1] |= {"group_id": "group0", "images": ["images/0.png", saved(shop.folder, "c.jpg", scene(0))]}
    assert shop.check().findings == ()


def test_query_photo_from_the_gallery_stops_unless_it_says_so(shop):
    query = {"query_id": "x", "kind": "photo", "image": "images/3.png", "product_ids": ["p3"]}
    shop.queries.append(query)
    verdict = shop.check()
    assert found(verdict) == {"query_photo_in_gallery"}
    assert not verdict.passed
    query["augmented"] = True
    assert shop.check().findings == ()


def test_query_photo_asked_on_both_sides_stops(shop):
    shop.products[0]["group_id"], shop.products[1]["group_id"] = group_on(Side.TRAIN), group_on(Side.TEST)
    saved(shop.folder, "asked.png", scene(99))
    shop.queries += [
        {"query_id": f"x{n}", "kind": "photo", "image": "asked.png", "product_ids": [f"p{n}"]} for n in range(2)
    ]
    verdict = shop.check()
    assert found(verdict) == {"query_photo_across_sides"}
    assert verdict.findings[0].examples == ("x0: asked.png",)


@pytest.mark.parametrize("check", ["product_ids_unique", "query_ids_unique", "query_references_resolve"])
def test_rows_that_did_not_come_through_a_source(shop, check):
    from dataclasses import replace

    catalog = shop.load()
    changed = {
        "product_ids_unique": lambda c: replace(c, products=(*c.products, c.products[0])),
        "query_ids_unique": lambda c: replace(c, queries=(*c.queries, c.queries[0])),
        "query_references_resolve": lambda c: replace(
            c, queries=(*c.queries, c.queries[0].model_copy(update={"query_id": "z", "product_ids": ("ghost", "p1")}))
        ),
    }[check](catalog)
    splits = split_catalog(changed, SplitConfig())
    verdict = check_catalog(changed, splits, DataChecksConfig())
    assert found(verdict) == {check}
    assert verdict.findings[0].num_bad == 1
    assert not verdict.passed
    mended = check_catalog(changed, splits, DataChecksConfig(on_error="quarantine"))
    assert mended.passed
    assert mended.catalog.products == catalog.products
    assert mended.catalog.queries == catalog.queries


def test_every_check_is_tried_above():
    elsewhere = {
        "attribute_coverage", "image_usable", "product_has_content", "query_photo_usable", "identical_across_sides",
        "near_identical_across_sides", "query_photo_in_gallery", "query_photo_across_sides", "product_ids_unique",
        "query_ids_unique", "query_references_resolve",
    }  # fmt: skip
    assert set(WARNINGS) | elsewhere == set(CHECKS)


def test_levels_can_be_set(shop):
    shop.products[0]["price"] = 2e6
    shop.products[1]["images"].append("absent.png")
    assert not shop.check(levels={"image_usable": "warning", "price_range": "error"}).passed
    off = shop.check(levels={"image_usable": "off", "price_range": "off"})
    assert off.findings == ()
    assert off.passed


def test_misspelt_check_and_empty_range_are_refused():
    with pytest.raises(ValidationError, match="did you mean image_usable"):
        DataChecksConfig(levels={"image_usabel": "off"})
    with pytest.raises(ValidationError, match="min_price 5"):
        DataChecksConfig(min_price=5, max_price=4)
    with pytest.raises(ValidationError, match="extra"):
        DataChecksConfig(on_eror="stop")


def test_workers_and_order_of_rows_change_no_finding(shop):
    shop.products[0]["group_id"], shop.products[1]["group_id"] = group_on(Side.TRAIN), group_on(Side.TEST)
    for number, seed in enumerate(range(200, 218)):
        shop.add_photo(number, seed)
    shop.products[5]["images"].append(saved(shop.folder, "copy.jpg", scene(204), quality=75))
    one, many = (shop.check(num_workers=n) for n in (1, 6))
    assert one.findings == many.findings
    assert found(one)
    random.Random(0).shuffle(shop.products)
    shuffled = shop.check()
    assert [(f.check, f.num_bad) for f in shuffled.findings] == [(f.check, f.num_bad) for f in one.findings]


def test_file_changed_meanwhile_is_an_error(shop):
    catalog = shop.load()
    Image.new("RGB", (100, 100)).save(shop.folder / "images/3.png")
    with pytest.raises(ImageError, match="changed since"):
        check_catalog(catalog, split_catalog(catalog, SplitConfig()), DataChecksConfig())


def test_nothing_is_imported_or_sent_before_it_is_needed():
    import subprocess
    import sys

    code = (
        "import sys, validation.config, validation.data, catalog.sources;"
        "heavy = {'great_expectations', 'pandas', 'torch', 'zenml', 'mlflow', 'ultralytics'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
