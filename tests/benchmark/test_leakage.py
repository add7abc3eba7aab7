"""No answer reaches the encoder: cheats that read it score 0, and score 1 as soon as hiding is switched off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tests.benchmark.encoders as encoders
import validation.benchmark.building as building
from catalog import ProductItem, QueryItem, Side, hide_fields
from catalog.labels import attribute_label, category_label
from tests.benchmark.encoders import Oracle, Spy, digests_of
from tests.benchmark.shop import Shop, stocked
from validation.benchmark import EvalSet, build_eval_set, run_benchmark
from validation.config import BenchmarkConfig
from validation.errors import BenchmarkError

BLIND = "nothing to read"


def visible(read: Callable[[ProductItem], str]) -> Callable[[ProductItem, frozenset[str]], str]:
    """Read the answer from what is left after hiding, as an honest encoder's input would hold it."""
    return lambda item, hide: read(encoders.hide_fields(item, hide)) or BLIND


def category_cheat(level: int) -> Oracle:
    def read(item: ProductItem) -> str:
        path = item.product.category[: level or None]
        return category_label(path) if path else ""

    return Oracle(visible(read))


def attribute_cheat(name: str) -> Oracle:
    def read(item: ProductItem) -> str:
        value = item.product.attributes.get(name, "")
        return attribute_label(name, value if isinstance(value, str) else value[0]) if value else ""

    return Oracle(visible(read))


def title_cheat(shop: Shop) -> Oracle:
    """Knows every title by heart, and so the category; with the title hidden it has nothing to go by."""
    leaf = {product.title: category_label(product.category) for product in shop.products}
    return Oracle(visible(lambda item: leaf[item.product.title] if item.product.title else ""))


def description_cheat() -> Oracle:
    return Oracle(visible(lambda item: item.product.description or ""), lambda query: query.text or "")


CHEATS = [
    *((f"category_level_{level}", category_cheat(level)) for level in (1, 2, 3)),
    ("category_leaf", category_cheat(0)),
    ("attribute.color", attribute_cheat("color")),
    ("attribute.care", attribute_cheat("care")),
]


@pytest.mark.parametrize(("task", "cheat"), CHEATS, ids=[name for name, _ in CHEATS])
@pytest.mark.parametrize("suffix", ["", "_title_hidden"])
def test_a_label_cheat_reads_nothing(
    task: str, cheat: Oracle, suffix: str, eval_set: EvalSet, config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{task}{suffix}/accuracy"
    assert run_benchmark(cheat, eval_set, config).scores[key].value == 0.0
    monkeypatch.setattr(encoders, "hide_fields", lambda item, hide: item)
    assert run_benchmark(cheat, eval_set, config).scores[key].value == 1.0, "the cheat itself must work"


@pytest.mark.parametrize(("task", "cheat"), CHEATS, ids=[name for name, _ in CHEATS])
def test_a_question_that_forgets_to_hide_is_caught(
    task: str, cheat: Oracle, eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    forgetful = replace(eval_set, labels=tuple(replace(own, hide=frozenset()) for own in eval_set.labels))
    assert run_benchmark(cheat, forgetful, config).scores[f"{task}/accuracy"].value == 1.0


def test_the_title_is_hidden_where_the_score_says_so(shop: Shop, eval_set: EvalSet, config: BenchmarkConfig) -> None:
    scores = run_benchmark(title_cheat(shop), eval_set, config).scores
    assert scores["category_leaf/accuracy"].value == 1.0
    assert scores["category_leaf_title_hidden/accuracy"].value == 0.0


def test_the_description_that_asks_is_not_in_the_product(tmp_path: Path, config: BenchmarkConfig) -> None:
    shop = Shop(tmp_path)
    for index in range(12):
        shop.product(f"p{index}", description=f"Only text number {index}.")
    eval_set = build_eval_set(shop.catalog(), shop.splits(), config)
    key = "text_to_product/recall@1"
    assert run_benchmark(description_cheat(), eval_set, config).scores[key].value == 0.0
    leaking = replace(eval_set, retrieval=tuple(replace(own, hide=frozenset()) for own in eval_set.retrieval))
    assert run_benchmark(description_cheat(), leaking, config).scores[key].value == 1.0


def test_no_product_is_given_with_a_query_photo(
    shop: Shop, eval_set: EvalSet, config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy()
    run_benchmark(spy, eval_set, config)
    given = digests_of(photo for _, item in spy.products for photo in item.photos)
    asked = digests_of(item.photo for item in spy.queries if item.photo)
    assert given
    assert asked
    assert given.isdisjoint(asked)
    first = next(query for query in eval_set.queries() if query.item.photo)
    product = shop.products[first.relevant[0]]
    guilty = product.model_copy(update={"images": (first.item.photo.ref, *product.images), "boxes": ()})
    catalog = replace(shop.catalog(), products=(guilty, *shop.products[1:]))
    monkeypatch.setattr(building, "set_apart", lambda gallery, queries, likeness: (gallery, queries, []))
    with pytest.raises(BenchmarkError, match="photo is in the gallery"):
        build_eval_set(catalog, shop.splits(), config)


def test_every_call_hides_what_it_tests_and_gives_nothing_a_shop_would_not(
    eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    spy = Spy()
    run_benchmark(spy, eval_set, config)
    calls = {hide for hide, _ in spy.products}
    hidden = [{"category"}, {"attributes.color"}, {"attributes.care"}]
    prose = {"title", "description"}
    shown = [set(), prose, {"images"}, {"images"} | prose, {"category", "attributes"} | prose]
    expected = [*shown, *hidden, *(own | prose for own in hidden)]
    assert calls == {frozenset(own) for own in expected}, "five passes for retrieval, two a family of labels"
    for _, item in spy.products:
        product = item.product
        assert (product.extra, product.url, product.boxes) == ({}, None, ())
        assert all(photo.box is None for photo in item.photos)
        assert tuple(photo.ref for photo in item.photos) == product.images
    assert all(item.photo is None or item.photo.box is None for item in spy.queries)


def test_only_products_under_test_are_embedded(shop: Shop, eval_set: EvalSet, config: BenchmarkConfig) -> None:
    spy = Spy()
    run_benchmark(spy, eval_set, config)
    assert {shop.sides[item.product.product_id] for _, item in spy.products} == {Side.TEST}


def test_a_query_is_given_without_its_answer(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    spy = Spy()
    run_benchmark(spy, eval_set, config)
    assert {type(item) for item in spy.queries} == {QueryItem}
    assert set(QueryItem.__dataclass_fields__) == {"query_id", "text", "photo"}


def test_the_spy_hides_with_the_houses_own_function() -> None:
    assert encoders.hide_fields is hide_fields


def test_photo_queries_never_carry_words_and_text_queries_never_carry_photos(eval_set: EvalSet) -> None:
    carried = {"image_to_product": (True, False), "text_to_product": (False, True), "both_to_product": (True, True)}
    carried |= {"image_to_text": (True, False), "text_to_image": (False, True)}
    for task in eval_set.retrieval:
        for query in task.queries:
            found = (query.item.photo is not None, query.item.text is not None)
            assert found == carried[task.name.removesuffix("_title_hidden")]


def test_both_shops_are_built_of_what_they_say(tmp_path: Path) -> None:
    """The cheats above mean something only if the shop really holds the answers in plain sight."""
    for product in stocked(tmp_path, num_test=6).products:
        assert product.category
        assert product.attributes["color"] in (product.url or "")
        assert product.extra == {"answer": product.attributes["color"]}
