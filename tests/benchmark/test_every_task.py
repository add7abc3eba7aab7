"""Encoders whose score is known beforehand, on every task that a set can ask."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import pytest

from catalog import ProductItem, QueryItem, QueryKind, Side
from catalog.items import ALL_ATTRIBUTES, ATTRIBUTE_PREFIX
from catalog.labels import attribute_label, category_label
from tests.benchmark.encoders import Oracle, Spy
from tests.benchmark.eval_sets import build
from tests.benchmark.shop import Shop, stocked
from validation.benchmark import EvalSet, judge, main_score, run_benchmark
from validation.config import BenchmarkConfig
from validation.rivals import Constant, RandomVectors

CFG = BenchmarkConfig(min_attribute_n=10, num_bootstrap=300, max_attribute_values=20, confidence=0.999)
LINKED = {f"p{number:03d}": f"p{number + 18:03d}" for number in range(18)}
TASKS = {
    *("image_to_product", "text_to_product", "both_to_product", "text_to_image", "image_to_text"),
    *("product_to_product", "category_level_1", "category_level_2", "category_level_3", "category_leaf"),
    *("category_leaf_unseen", "attribute.color", "attribute.care", "photo_label"),
}
NO_TWIN = {"text_to_image", "photo_label"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    def change(shop: Shop) -> None:
        for anchor, answer in LINKED.items():
            shop.link(f"l{anchor}", (anchor,), (answer,))
        for number in range(12):
            shop.product(f"n{number}", category=("Home", "Lamps", f"Lamp {number % 2}"), group_id=f"n{number}")
            shop.labelled(
                f"f{number}", shop.photo(f"f{number}.png", 10**6 + number), ("hat", "shoe", "bag")[number % 3]
            )

    return stocked(tmp_path_factory.mktemp("every"), change=change)


@pytest.fixture(scope="module")
def every(shop: Shop) -> EvalSet:
    return build(shop, CFG)


def knows(shop: Shop) -> Oracle:
    asked = {query.query_id: query for query in shop.queries}
    anchors = {answer: anchor for anchor, answer in LINKED.items()}

    def of_product(item: ProductItem, hide: frozenset[str]) -> str | tuple[str, ...]:
        own = item.product
        (attribute,) = [name for name in hide if name.startswith(ATTRIBUTE_PREFIX)] or [""]
        if attribute:
            name = attribute.removeprefix(ATTRIBUTE_PREFIX)
            values = own.attributes[name]
            return tuple(attribute_label(name, value) for value in ([values] if isinstance(values, str) else values))
        if "category" in hide and ALL_ATTRIBUTES not in hide:
            return tuple(category_label(own.category[:depth]) for depth in range(1, len(own.category) + 1))
        return f"product {anchors.get(own.product_id, own.product_id)}"

    def of_query(item: QueryItem) -> str:
        query = asked[item.query_id]
        if query.kind is QueryKind.PHOTO_LABEL:
            return str(query.label)
        key = query.product_ids[0]
        return f"product {anchors.get(key, key)}"

    return Oracle(of_product, of_query)


def tasks_of(eval_set: EvalSet) -> set[str]:
    return {task.name for task in eval_set.retrieval} | {task.name for task in eval_set.labels}


def test_the_set_asks_every_task_there_is(every: EvalSet) -> None:
    assert tasks_of(every) == TASKS | {f"{name}_title_hidden" for name in TASKS - NO_TWIN}
    assert not every.absent


def test_who_knows_every_answer_has_the_best_value_of_every_metric_of_the_labels(shop: Shop, every: EvalSet) -> None:
    scores = run_benchmark(knows(shop), every, CFG).scores
    labels = {task.name for task in every.labels}
    found = {key: score.value for key, score in scores.items() if key.partition("/")[0] in labels}
    assert {key.partition("/")[0] for key in found} == labels
    assert found == dict.fromkeys(found, 1.0)
    # Linked products share an axis here: each finds the other first, and their groups' right ones before all others.
    linked = {key: score.value for key, score in scores.items() if key.startswith("product_to_product")}
    assert linked == dict.fromkeys(linked, 1.0)


def test_who_knows_every_product_has_the_best_value_of_every_metric_of_the_retrieval(
    shop: Shop, every: EvalSet
) -> None:
    answers = {query.query_id: query.product_ids[0] for query in shop.queries if query.product_ids}
    own = Oracle(lambda item, hide: item.product.product_id, lambda item: answers[item.query_id])
    asked = every.only([task.name for task in every.retrieval if not task.name.startswith("product_to_product")])
    scores = run_benchmark(own, asked, CFG).scores
    assert len(every.gallery) > len(every.pool_of(next(t for t in asked.retrieval if t.name == "text_to_image")))
    assert {key: score.value for key, score in scores.items()} == dict.fromkeys(scores, 1.0)


def test_a_collapsed_encoder_has_no_hit_and_no_label_anywhere(every: EvalSet) -> None:
    scores = run_benchmark(Constant(), every, CFG).scores
    assert {key.partition("/")[0] for key in scores} == tasks_of(every) | {"attributes", "attributes_title_hidden"}
    for key, score in scores.items():
        metric = key.partition("/")[2]
        if metric in ("mrr", "map", "mean_rank"):
            continue
        if metric == "map_values":
            assert score.value < 0.8, "the worst order of the values there are"
        else:
            assert score.value == 0.0, key


def test_random_vectors_score_chance_on_every_task(every: EvalSet) -> None:
    scores = run_benchmark(RandomVectors(), every, CFG).scores
    for task in every.retrieval:
        pool = len(every.pool_of(task))
        sizes = [(pool - len(query.excluded), len(query.relevant)) for query in task.queries]
        chance = {f"recall@{k}": np.mean([1 - comb(p - r, k) / comb(p, k) for p, r in sizes]) for k in (1, 5, 10)}
        chance["mean_rank"] = np.mean([(p + 1) / (r + 1) for p, r in sizes])
        for metric, expected in chance.items():
            score = scores[f"{task.name}/{metric}"]
            assert score.low <= expected <= score.high, (task.name, metric, expected, score)
            assert (score.n, score.pool) == (len(task.queries), pool)
    for question in every.labels:
        met = np.mean([len(own) for own in question.answers]) / len(question.labels)
        score = scores[f"{question.name}/accuracy"]
        assert score.low <= met <= score.high, (question.name, met, score)
        assert (score.n, score.pool) == (len(question.items), len(question.labels))


def test_an_encoder_that_reads_nothing_has_the_reason_of_every_task_and_no_score(every: EvalSet) -> None:
    asked = every.only([name for name in tasks_of(every) if not name.startswith("product_to_product")])
    blind = Spy()
    blind.modalities = frozenset()
    record, outcomes = judge(blind, asked, CFG)
    assert record.scores == outcomes == {}
    assert tasks_of(asked) <= set(record.not_applicable)
    assert np.isnan(main_score(record))
    assert blind.products == blind.queries == blind.labels == []


def test_where_any_order_is_right_nothing_is_scored(tmp_path: Path) -> None:
    """One product with a photograph: whatever asks for a picture finds it."""
    shop = Shop(tmp_path)
    shop.product("seen", images=[shop.photo("a.png", 1), shop.photo("b.png", 2)], category=("Wear", "Hats"))
    shop.product("other", category=("Wear", "Coats"))
    shop.product("trained", Side.TRAIN, category=("Wear", "Hats"))
    shop.query("q", QueryKind.TEXT, ("seen",), text="a hat")
    record, outcomes = judge(Constant(), build(shop), BenchmarkConfig(num_bootstrap=100))
    assert not [key for key in (*record.scores, *outcomes) if key.startswith("text_to_image/")]
    for metric in ("mrr", "map", "mean_rank", "recall@1", "recall_all@1", "recall_group@1", "ndcg@1"):
        assert record.not_applicable[f"text_to_image/{metric}"].startswith("0 wrong products in the pool of 1")
    assert record.scores["text_to_product/recall@1"].value == 0.0, "of two products one is wrong"
    assert "text_to_product/ndcg@5" in record.not_applicable
    assert record.scores["category_leaf/accuracy"].n == 2, "a class with one item is asked like any other"


def test_slices_of_a_rank_are_kept_for_ceilings(every: EvalSet) -> None:
    record = run_benchmark(RandomVectors(), every, CFG)
    parts = [score for key, score in record.slices.items() if key.startswith("text_to_product/mean_rank[category=")]
    whole = record.scores["text_to_product/mean_rank"]
    assert len(parts) == 2
    assert sum(part.value * part.n for part in parts) == pytest.approx(whole.value * whole.n)
    assert all(1.0 <= part.low <= part.value <= part.high for part in parts)


def test_what_is_no_candidate_is_no_wrong_one_either(tmp_path: Path) -> None:
    """Of six products the asking one and its variant take no part: three wrong ones do not fill five places."""
    shop = Shop(tmp_path)
    for number in range(6):
        shop.product(f"p{number}", group_id="g" if number < 2 else f"g{number}")
    shop.link("l", ("p0",), ("p2", "p0"))
    record = run_benchmark(Constant(), build(shop), BenchmarkConfig(ks=(1, 3, 4), num_bootstrap=100))
    assert record.scores["product_to_product/recall@3"].value == 0.0
    assert record.scores["product_to_product/mean_rank"].value == 4.0
    assert "3 wrong products" in record.not_applicable["product_to_product/recall@4"]
