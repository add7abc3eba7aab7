"""The rendered shop: rows, files, determinism, difficulty."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalog import DemoConfig, QueryKind, Side, SplitConfig, StorageError, decode_image, sha256_hex, split_catalog
from catalog.demo import render_demo
from catalog.demo import shop as shop_module
from catalog.demo.palette import COLOURS
from catalog.demo.shoppers import FIRST_TIME_S, SPAN_S
from catalog.demo.taxonomy import LEAVES
from tests.demo.conftest import SIDE_PX, Shop
from tests.demo.difficulty import histogram_recall_at_1, title_overlap_accuracy

SMALL = DemoConfig(num_products=24, image_size_px=64, num_workers=1)


def _bytes(root: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((root / "images").iterdir())}


def test_same_shop_to_the_byte_whatever_the_number_of_processes(tmp_path: Path) -> None:
    one = render_demo(SMALL, str(tmp_path / "one"))
    two = render_demo(SMALL.model_copy(update={"num_workers": 2}), str(tmp_path / "two"))
    assert one == two
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_another_seed_is_another_shop(tmp_path: Path) -> None:
    first, _ = render_demo(SMALL, str(tmp_path / "one"))
    second, _ = render_demo(SMALL.model_copy(update={"seed": 8}), str(tmp_path / "two"))
    assert [product.title for product in first] != [product.title for product in second]
    assert not set(_bytes(tmp_path / "one").values()) & set(_bytes(tmp_path / "two").values())


def test_a_larger_shop_begins_with_the_smaller_one(tmp_path: Path) -> None:
    small, _ = render_demo(SMALL, str(tmp_path / "small"))
    large, _ = render_demo(SMALL.model_copy(update={"num_products": 30}), str(tmp_path / "large"))
    assert large[:24] == small
    few, many = _bytes(tmp_path / "small"), _bytes(tmp_path / "large")
    for product in small:
        for ref in product.images:
            assert few[Path(ref).name] == many[Path(ref).name]


def test_ids_are_unique_and_every_reference_resolves(shop: Shop) -> None:
    ids = [product.product_id for product in shop.products]
    assert len(set(ids)) == len(ids) == 150
    assert len({query.query_id for query in shop.queries}) == len(shop.queries)
    assert all(set(query.product_ids) <= set(ids) for query in shop.queries)
    refs = [ref for product in shop.products for ref in product.images]
    refs += [query.image for query in shop.queries if query.image]
    assert sorted(refs) == sorted(f"images/{path.name}" for path in (shop.root / "images").iterdir())


def test_every_picture_decodes_at_the_size_asked_for(shop: Shop) -> None:
    for path in (shop.root / "images").iterdir():
        assert decode_image(path.read_bytes(), path.name).size == (SIDE_PX, SIDE_PX)


def test_three_or_four_views_the_first_is_main(shop: Shop) -> None:
    for product in shop.products:
        assert 3 <= len(product.images) <= 4
        assert product.image_roles[0] == "main"
        assert len(set(product.image_roles)) >= 3


def test_boxes_lie_inside_their_pictures(shop: Shop) -> None:
    boxes = [box for product in shop.products for box in product.boxes]
    boxes += [query.box for query in shop.queries if query.image]
    for box in boxes:
        assert box is not None
        x0, y0, x1, y1 = box
        assert 0 <= x0 < x1 <= SIDE_PX
        assert 0 <= y0 < y1 <= SIDE_PX
        assert (x1 - x0) * (y1 - y0) >= 0.04 * SIDE_PX**2
    assert all(query.box is None for query in shop.queries if query.image is None)


def test_some_views_are_cut_off_by_the_frame(shop: Shop) -> None:
    boxes = [box for product in shop.products for box in product.boxes if box]
    cut = [box for box in boxes if box[0] == 0 or box[1] == 0 or box[2] == SIDE_PX or box[3] == SIDE_PX]
    assert 0.01 < len(cut) / len(boxes) < 0.3


def test_categories_are_three_deep_and_many(shop: Shop) -> None:
    assert len(LEAVES) >= 12
    assert len({leaf.name for leaf in LEAVES}) == len(LEAVES)
    assert {len(product.category) for product in shop.products} == {3}
    assert len({product.category for product in shop.products}) >= 12


def test_every_leaf_shows_six_attributes() -> None:
    for leaf in LEAVES:
        assert len(leaf.attributes) + 2 >= 6, leaf.name  # colour and accent colour belong to every leaf


def test_attributes_hold_known_values_and_some_are_missing(shop: Shop) -> None:
    known = {leaf.path: leaf.attributes for leaf in LEAVES}
    for product in shop.products:
        for name, value in product.attributes.items():
            allowed = tuple(COLOURS) if name in ("colour", "accent_colour") else known[product.category][name]
            assert set((value,) if isinstance(value, str) else value) <= set(allowed)
    coverage = sum("colour" in product.attributes for product in shop.products) / len(shop.products)
    assert 0.75 < coverage < 0.98
    assert any(isinstance(value, tuple) and len(value) > 1 for p in shop.products for value in p.attributes.values())


def test_groups_share_category_and_price_and_differ_in_colour(shop: Shop) -> None:
    groups: dict[str, list[Any]] = {}
    for product in shop.products:
        groups.setdefault(product.group_id, []).append(product)
    assert {len(members) for members in groups.values()} == {1, 2, 3, 4}
    for members in groups.values():
        assert len({member.category for member in members}) == 1
        assert len({member.price for member in members}) == 1
        colours = [member.attributes["colour"] for member in members if "colour" in member.attributes]
        assert len(set(colours)) == len(colours)


def test_no_query_photo_is_a_gallery_photo(shop: Shop) -> None:
    gallery = [sha256_hex((shop.root / ref).read_bytes()) for product in shop.products for ref in product.images]
    asked = [sha256_hex((shop.root / query.image).read_bytes()) for query in shop.queries if query.image]
    assert len(set(gallery)) == len(gallery)
    assert len(set(asked)) == len(asked)
    assert not set(gallery) & set(asked)


def test_shoppers_are_spread_over_two_years(shop: Shop) -> None:
    stamps = [query.timestamp for query in shop.queries]
    assert all(stamp is not None and FIRST_TIME_S <= stamp < FIRST_TIME_S + SPAN_S for stamp in stamps)
    quarters = {int((stamp - FIRST_TIME_S) / SPAN_S * 8) for stamp in stamps if stamp is not None}
    assert quarters == set(range(8))


def test_the_split_has_work_for_both_sides(shop: Shop) -> None:
    splits = split_catalog(shop.catalog(), SplitConfig())
    assert splits.dropped["answers on several sides"] == 0
    assert len(splits.queries[Side.TEST]) > 30
    photos = {query.product_ids[0] for query in splits.queries[Side.TEST] if query.kind is QueryKind.PHOTO}
    assert photos == set(splits.product_ids(Side.TEST))


def test_colours_alone_find_few_products(shop: Shop) -> None:
    splits = split_catalog(shop.catalog(), SplitConfig())
    held_out = set(splits.product_ids(Side.TEST))
    gallery = [product for product in shop.products if product.product_id in held_out]
    recall, num_queries = histogram_recall_at_1(gallery, list(splits.queries[Side.TEST]), shop.root)
    assert num_queries >= len(gallery)
    assert recall <= 0.25


def test_title_words_alone_name_few_categories(shop: Shop) -> None:
    accuracy = title_overlap_accuracy(shop.products)
    assert 0.1 <= accuracy <= 0.5


def test_progress_counts_every_product(shop: Shop) -> None:
    assert shop.progress == [(done, 150) for done in range(1, 151)]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_interruption_leaves_no_half_written_picture(tmp_path: Path, num_workers: int) -> None:
    class StopHere(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise StopHere

    with pytest.raises(StopHere):
        render_demo(SMALL.model_copy(update={"num_workers": num_workers}), str(tmp_path), stop)
    for path in (tmp_path / "images").iterdir():
        assert path.suffix == ".jpg"
        with Image.open(path) as image:
            image.load()


def test_a_full_disk_is_told_and_leaves_no_half_written_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr(shop_module.os, "replace", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        render_demo(SMALL, str(tmp_path))
    assert "images" in caught.value.where
    assert list((tmp_path / "images").iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        render_demo(SMALL, str(tmp_path / "taken"))
