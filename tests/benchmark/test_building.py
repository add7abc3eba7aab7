"""What an evaluation set holds, and what it refuses to hold."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from catalog import ImageRecord, QueryItem, QueryKind, Side
from tests.benchmark.encoders import digests_of
from tests.benchmark.shop import Shop, picture, stocked
from validation.benchmark import BenchmarkError, EvalSet, build_eval_set
from validation.benchmark.building import first_sentences
from validation.config import BenchmarkConfig


def build(shop: Shop, config: BenchmarkConfig = BenchmarkConfig()) -> EvalSet:
    return build_eval_set(shop.catalog(), shop.splits(), config)


def task(eval_set: EvalSet, name: str):
    return next(task for task in eval_set.retrieval if task.name == name)


def question(eval_set: EvalSet, name: str):
    return next(task for task in eval_set.labels if task.name == name)


def ids(eval_set: EvalSet, positions: tuple[int, ...]) -> set[str]:
    return {eval_set.gallery[index].product.product_id for index in positions}


def test_the_gallery_is_the_test_side_and_relevance_is_product_ids(eval_set: EvalSet, shop: Shop) -> None:
    test_ids = {key for key, side in shop.sides.items() if side is Side.TEST}
    assert {item.product.product_id for item in eval_set.gallery} == test_ids
    by_id = {query.query_id: query for query in shop.queries}
    counts = {task.name: len(task.queries) for task in eval_set.retrieval}
    assert counts == {"image_to_product": 36, "text_to_product": 36, "both_to_product": 18}
    for own in eval_set.queries():
        row = by_id[own.item.query_id]
        assert ids(eval_set, own.relevant) == set(row.product_ids)
        group = next(p.group_id for p in shop.products if p.product_id == row.product_ids[0])
        assert ids(eval_set, own.same_group) == {p.product_id for p in shop.products if p.group_id == group}
        assert own.group_id == group


def test_the_validation_side_can_be_asked_too(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.product("a", Side.VAL, images=[shop.photo("a.png", 1)])
    shop.product("b", Side.TEST, images=[shop.photo("b.png", 2)])
    eval_set = build_eval_set(shop.catalog(), shop.splits(), BenchmarkConfig(), Side.VAL)
    assert [item.product.product_id for item in eval_set.gallery] == ["a"]
    with pytest.raises(BenchmarkError, match="no product to judge on"):
        build_eval_set(shop.catalog(), shop.splits(), BenchmarkConfig(), Side.TRAIN)


def test_labels_are_the_catalogues_categories_and_the_train_sides_values(eval_set: EvalSet) -> None:
    leaf = question(eval_set, "category_leaf")
    assert set(leaf.labels) == {"Wear > Tops > Shirts", "Wear > Tops > Hats", "Home > Rugs > Wool rugs"}
    assert set(question(eval_set, "category_level_1").labels) == {"Wear", "Home"}
    colour = question(eval_set, "attribute.color")
    assert set(colour.labels) == {"color: red", "color: green", "color: blue"}
    for index, answers in zip(colour.items, colour.answers, strict=True):
        value = eval_set.gallery[index].product.attributes["color"]
        assert [colour.labels[answer] for answer in answers] == [f"color: {value}"]
    care = question(eval_set, "attribute.care")
    assert {len(answers) for answers in care.answers} == {1, 2}
    assert care.labels[care.majority] == "care: wash"
    assert any("attribute sku is not asked: 24 values" in note for note in eval_set.notes)


def test_whether_the_answer_stands_in_the_title(eval_set: EvalSet) -> None:
    colour = question(eval_set, "attribute.color")
    for index, told in zip(colour.items, colour.in_title, strict=True):
        product = eval_set.gallery[index].product
        assert told == (product.attributes["color"] in (product.title or ""))
    assert all(question(eval_set, "category_leaf").in_title)


def test_a_value_train_has_never_seen_has_no_right_answer(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        shop.product("new", attributes={"color": "teal"})

    eval_set = build(stocked(tmp_path, change=change), BenchmarkConfig(min_attribute_n=10))
    colour = question(eval_set, "attribute.color")
    position = [item.product.product_id for item in eval_set.gallery].index("new")
    assert colour.answers[colour.items.index(position)] == ()
    assert any("color: 1 test products have no value" in note for note in eval_set.notes)


# --- photographs ---------------------------------------------------------------------------------------------------


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
    assert eval_set.retrieval_hide == {"description"}
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


# --- what cannot be asked ------------------------------------------------------------------------------------------


def test_queries_that_point_nowhere_are_dropped_and_said(tmp_path: Path) -> None:
    shop = stocked(tmp_path)
    whole = shop.catalog()
    less = replace(whole, products=tuple(p for p in whole.products if p.product_id != "p001"))
    eval_set = build_eval_set(less, shop.splits(), BenchmarkConfig())
    assert "3 queries dropped: none of their products is in the gallery" in eval_set.notes


def test_a_catalogue_of_bare_titles_asks_what_it_can(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for key in "abc":
        shop.product(key)
    eval_set = build(shop)
    assert eval_set.labels == ()
    assert {name for name, _ in eval_set.absent} >= {"image_to_product", "category_leaf", "attributes"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", "One. Two! Three?"),
        ("A sentence of some length. Another that is far too long to fit.", "A sentence of some length."),
        ("no end in sight for this very long first sentence", "no end in sight for this very"),
        ("第一句。第二句很长很长很长很长很长很长很长很长很长很长很长很长很长很长。", "第一句。"),
        ("• Line\n- next", "• Line - next"),
        ("   ", ""),
    ],
)
def test_first_sentences(text: str, expected: str) -> None:
    assert first_sentences(text, 32) == expected


# --- digest --------------------------------------------------------------------------------------------------------


def _more(shop: Shop) -> None:
    shop.product("one-more")


def _other_title(shop: Shop) -> None:
    shop.products[0] = shop.products[0].model_copy(update={"title": "Another"})


def _other_answer(shop: Shop) -> None:
    shop.queries[0] = shop.queries[0].model_copy(update={"product_ids": ("p005",)})


def _other_words(shop: Shop) -> None:
    shop.queries[0] = shop.queries[0].model_copy(update={"text": "something else"})


def _other_photo(shop: Shop) -> None:
    shop.photo("images/p000-0.png", 123_456)


def _other_query_photo(shop: Shop) -> None:
    shop.photo("images/q000.png", 123_456)


def _other_train_value(shop: Shop) -> None:
    shop.product("train-more", Side.TRAIN, attributes={"color": "teal"})


def _other_train_category(shop: Shop) -> None:
    shop.product("train-more", Side.TRAIN, category=("Garden",))


def _fewer_queries(shop: Shop) -> None:
    shop.queries.pop()


@pytest.mark.parametrize(
    "change",
    [
        *(_more, _other_title, _other_answer, _other_words, _other_photo, _other_query_photo),
        *(_other_train_value, _other_train_category, _fewer_queries),
    ],
)
def test_the_digest_changes_with_anything_that_is_asked(change, tmp_path: Path) -> None:
    config = BenchmarkConfig(min_attribute_n=10)
    shop = stocked(tmp_path, num_test=12)
    first = build(shop, config)
    change(shop)
    assert build(shop, config).digest != first.digest


def test_the_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    one, two = (build(stocked(tmp_path / name, num_test=12)) for name in ("one", "two"))
    assert one.digest == two.digest


def test_the_digest_depends_on_every_field_of_the_set(eval_set: EvalSet) -> None:
    names, words = task(eval_set, "image_to_product"), question(eval_set, "category_leaf")
    query = names.queries[0]
    others = [
        replace(eval_set, side="val"),
        replace(eval_set, retrieval_hide=frozenset({"description"})),
        replace(eval_set, gallery=eval_set.gallery[::-1]),
        *(
            replace(eval_set, retrieval=(other, *eval_set.retrieval[1:]))
            for other in (
                replace(names, name="x"),
                replace(names, query_source="x"),
                replace(names, needs=("text",)),
                *(
                    replace(names, queries=(changed, *names.queries[1:]))
                    for changed in (
                        replace(query, relevant=(5,)),
                        replace(query, same_group=(0,)),
                        replace(query, group_id="x"),
                        replace(query, names_answer=not query.names_answer),
                    )
                ),
            )
        ),
        *(
            replace(eval_set, labels=(other, *(own for own in eval_set.labels if own.name != words.name)))
            for other in (
                replace(words, labels=(*words.labels[:-1], "x")),
                replace(words, answers=(*words.answers[:-1], ())),
                replace(words, hide=frozenset()),
                replace(words, majority=2 - words.majority if words.majority != 1 else 0),
            )
        ),
    ]
    digests = {other.digest for other in others}
    assert len(digests) == len(others)
    assert eval_set.digest not in digests


def test_train_products_that_bring_no_new_label_leave_the_digest_alone(tmp_path: Path) -> None:
    config = BenchmarkConfig(min_attribute_n=10)

    def change(shop: Shop) -> None:
        shop.product("train-more", Side.TRAIN, title="Only a title")

    one, two = build(stocked(tmp_path / "one"), config), build(stocked(tmp_path / "two", change=change), config)
    assert one.digest == two.digest
    assert one.dataset_digest != two.dataset_digest


def test_photos_of_a_catalogue_without_digests_are_not_trusted(tmp_path: Path) -> None:
    shop = stocked(tmp_path)
    shop.images["images/q000.png"] = ImageRecord("images/q000.png", "")
    assert "i000" not in {query.item.query_id for query in build(shop).queries()}
