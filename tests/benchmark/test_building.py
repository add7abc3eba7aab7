"""What an evaluation set holds, and what cannot be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalog import Side
from tests.benchmark.eval_sets import build, ids, question
from tests.benchmark.shop import Shop, stocked
from validation.benchmark import EvalSet, build_eval_set
from validation.benchmark.building import first_sentences
from validation.config import BenchmarkConfig
from validation.errors import BenchmarkError


def test_the_gallery_is_the_test_side_and_relevance_is_product_ids(eval_set: EvalSet, shop: Shop) -> None:
    test_ids = {key for key, side in shop.sides.items() if side is Side.TEST}
    assert {item.product.product_id for item in eval_set.gallery} == test_ids
    by_id = {query.query_id: query for query in shop.queries}
    counts = {task.name: len(task.queries) for task in eval_set.retrieval}
    asked = {"image_to_product": 36, "text_to_product": 36, "both_to_product": 18, "image_to_text": 36}
    assert counts == {**asked, **{f"{name}_title_hidden": n for name, n in asked.items()}, "text_to_image": 36}
    for own in eval_set.queries():
        row = by_id[own.query_id]
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
    assert {len(answers) for answers in care.answers} == {1}
    assert len(care.items) == 18, "a product that has every value of train cannot be answered wrongly"
    assert care.labels[care.majority] == "care: wash"
    assert any("attribute sku is not asked: 24 values" in note for note in eval_set.notes)


def test_whether_the_answer_stands_in_the_title(eval_set: EvalSet) -> None:
    colour = question(eval_set, "attribute.color")
    for index, traits in zip(colour.items, colour.traits, strict=True):
        product = eval_set.gallery[index].product
        stands = product.attributes["color"] in (product.title or "")
        assert traits == (("word_in_title", "yes" if stands else "no"),)
    assert set(question(eval_set, "category_leaf").traits) == {(("word_in_title", "yes"),)}


def test_a_value_train_has_never_seen_has_no_right_answer(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        shop.product("new", attributes={"color": "teal"})

    eval_set = build(stocked(tmp_path, change=change), BenchmarkConfig(min_attribute_n=10))
    colour = question(eval_set, "attribute.color")
    position = [item.product.product_id for item in eval_set.gallery].index("new")
    assert colour.answers[colour.items.index(position)] == ()
    assert any("color: 1 test products have no value" in note for note in eval_set.notes)


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
