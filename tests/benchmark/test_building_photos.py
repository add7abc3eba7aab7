"""Which photographs an evaluation set asks with, and which it takes out of the gallery."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from catalog import ImageRecord, QueryItem, QueryKind
from tests.benchmark.encoders import digests_of
from tests.benchmark.eval_sets import build, ids, task
from tests.benchmark.shop import Shop, picture, stocked
from validation.benchmark import EvalSet
from validation.errors import BenchmarkError


def other_photo_shop(root: Path) -> Shop:
    shop = Shop(root)
    for index in range(12):
        refs = [shop.photo(f"{index}-{view}.png", 100 * index + view) for view in range(1 + index % 3)]
        words = f"Tale number {index // 2}. More of it." if index < 8 else None
        shop.product(f"p{index:02d}", group_id=f"g{index // 2}", images=refs, description=words)
    return shop


def test_where_nobody_photographed_a_product_one_of_its_photos_asks_for_it(tmp_path: Path) -> None:
    shop = other_photo_shop(tmp_path)
    eval_set = build(shop)
    photos = task(eval_set, "image_to_product")
    assert photos.query_source == "other_photo"
    assert [query.item.query_id for query in photos.queries] == [
        f"other-photo:p{index:02d}" for index in range(12) if index % 3
    ]
    for query in photos.queries:
        (index,) = query.relevant
        product = shop.products[index]
        assert len(eval_set.gallery[index].photos) == len(product.images) - 1
        assert query.item.photo is not None
        assert query.item.photo.ref in product.images
    words = task(eval_set, "text_to_product")
    assert words.query_source == "description"
    assert [query.item.text for query in words.queries] == [f"Tale number {i}. More of it." for i in range(4)]
    assert ids(eval_set, words.queries[0].relevant) == {"p00", "p01"}
    assert all("description" in one.hide for one in eval_set.retrieval)
    both = task(eval_set, "both_to_product")
    assert both.query_source == "other_photo + description"
    assert all(query.item.text and query.item.photo for query in both.queries)


def test_which_photo_asks_does_not_depend_on_the_order_of_the_catalogue(tmp_path: Path) -> None:
    shop = other_photo_shop(tmp_path)
    first = build(shop)
    shop.products.reverse()
    assert build(shop).digest == first.digest


def test_the_query_photo_is_removed_wherever_its_bytes_are(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        refs = [shop.photo("copy.png", 500), shop.photo("copy-own.png", 77)]
        shop.product("thief", images=refs, image_roles=["main", "back"])

    eval_set = build(stocked(tmp_path, change=change))
    thief = next(item for item in eval_set.gallery if item.product.product_id == "thief")
    assert [photo.ref for photo in thief.photos] == ["copy-own.png"]
    assert thief.product.images == ("copy-own.png",)
    assert thief.product.image_roles == ("back",)
    asked = digests_of(query.item.photo for query in eval_set.queries() if query.item.photo)
    assert asked.isdisjoint(digests_of(photo for item in eval_set.gallery for photo in item.photos))
    assert "i000" in {query.item.query_id for query in task(eval_set, "image_to_product").queries}


def test_a_recompressed_query_photo_is_removed_from_the_product_it_asks_for(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        out = io.BytesIO()
        picture(9_001, 160).save(out, "JPEG", quality=75)
        again = Image.open(io.BytesIO(out.getvalue())).resize((112, 112), Image.Resampling.LANCZOS)
        refs = [shop.photo("again.png", again), shop.photo("true-other.png", 9_002)]
        shop.product("same", images=refs)
        shop.query("q-same", QueryKind.PHOTO, ("same",), image=shop.photo("q-same.png", picture(9_001, 160)))

    eval_set = build(stocked(tmp_path, change=change))
    same = next(item for item in eval_set.gallery if item.product.product_id == "same")
    assert [photo.ref for photo in same.photos] == ["true-other.png"]


def test_a_recompressed_query_photo_is_removed_from_a_variant_too(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        for key, number in (("same", 9_002), ("variant", 9_003), ("stranger", 9_004)):
            refs = [shop.photo(f"{key}.png", number)]
            if key != "same":
                refs.append(shop.photo(f"{key}-again.png", picture(9_001, 112)))
            shop.product(key, group_id="other" if key == "stranger" else "group", images=refs)
        shop.query("q-same", QueryKind.PHOTO, ("same",), image=shop.photo("q-same.png", picture(9_001, 160)))

    eval_set = build(stocked(tmp_path, change=change))
    left = {item.product.product_id: [photo.ref for photo in item.photos] for item in eval_set.gallery}
    assert left["same"] == ["same.png"]
    assert left["variant"] == ["variant.png"]
    # A look-alike of another article is no help to anyone: it stays, as a wrong answer.
    assert len(left["stranger"]) == 2
    assert "q-same" in {query.item.query_id for query in eval_set.queries()}


def test_a_query_whose_photo_is_all_a_product_has_is_dropped_and_the_product_keeps_it(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        shop.product("only", images=[shop.photo("only.png", 4_711)])
        shop.query("q-only", QueryKind.PHOTO, ("only",), image=shop.photo("q-only.png", 4_711))

    eval_set = build(stocked(tmp_path, change=change))
    only = next(item for item in eval_set.gallery if item.product.product_id == "only")
    assert len(only.photos) == 1
    assert "q-only" not in {query.item.query_id for query in eval_set.queries()}
    assert any("1 photo queries dropped" in note for note in eval_set.notes)


def test_near_identical_photos_alone_make_no_query(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.product("twin", images=[shop.photo("a.png", picture(1)), shop.photo("b.png", picture(1, 48))])
    eval_set = build(shop)
    assert not eval_set.retrieval
    assert dict(eval_set.absent).keys() >= {"image_to_product", "text_to_product", "both_to_product"}


def test_augmented_queries_are_reported_apart_and_leave_the_original_in_place(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        crop = picture(0).crop((1, 1, 32, 32))
        shop.query("crop", QueryKind.PHOTO, ("p000",), image=shop.photo("crop.png", crop), augmented=True)

    eval_set = build(stocked(tmp_path, change=change))
    edited = task(eval_set, "image_to_product_augmented")
    assert [query.item.query_id for query in edited.queries] == ["crop"]
    assert len(eval_set.gallery[0].photos) == 2
    assert "crop" not in {query.item.query_id for query in task(eval_set, "image_to_product").queries}


def test_edited_photos_look_for_products_without_the_description_that_asks_elsewhere(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for number in range(3):
        photos = [shop.photo(f"{number}-{view}.png", 10 * number + view) for view in range(2)]
        shop.product(f"p{number}", description=f"Story number {number}.", images=photos)
    crop = picture(0).crop((1, 1, 32, 32))
    shop.query("crop", QueryKind.PHOTO, ("p0",), image=shop.photo("crop.png", crop), augmented=True)
    assert task(build(shop), "image_to_product_augmented").hide == {"description"}


def test_unusable_photos_are_neither_asked_nor_shown(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        shop.product("hurt", images=[shop.photo("hurt.png", 8_001, "truncated"), shop.photo("well.png", 8_002)])
        shop.query("q-hurt", QueryKind.PHOTO, ("hurt",), image=shop.photo("q-hurt.png", 8_003, "truncated"))

    eval_set = build(stocked(tmp_path, change=change))
    hurt = next(item for item in eval_set.gallery if item.product.product_id == "hurt")
    assert [photo.ref for photo in hurt.photos] == ["well.png"]
    assert "1 queries dropped: their photo cannot be used" in eval_set.notes


def test_an_evaluation_set_that_holds_a_query_photo_cannot_be_constructed(eval_set: EvalSet) -> None:
    photos = task(eval_set, "image_to_product")
    stolen = eval_set.gallery[3].photos[0]
    leaking = replace(photos.queries[0], item=QueryItem("leak", None, stolen))
    with pytest.raises(BenchmarkError, match="leak, product p003"):
        replace(eval_set, retrieval=(replace(photos, queries=(leaking,)),))
    nameless = replace(photos.queries[0], item=QueryItem("nameless", None, replace(stolen, digest="")))
    with pytest.raises(BenchmarkError, match="without a digest"):
        replace(eval_set, retrieval=(replace(photos, queries=(nameless,)),))


def test_photos_of_a_catalogue_without_digests_are_not_trusted(tmp_path: Path) -> None:
    shop = stocked(tmp_path)
    shop.images["images/q000.png"] = ImageRecord("images/q000.png", "")
    assert "i000" not in {query.item.query_id for query in build(shop).queries()}
