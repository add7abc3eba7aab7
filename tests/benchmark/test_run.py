"""Scores of encoders whose score is known beforehand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog import ModelError, ProductItem
from catalog.labels import category_label
from tests.benchmark.encoders import Oracle, Spy
from tests.benchmark.shop import Shop, stocked
from validation.benchmark import EvalSet, build_eval_set, harness_digest, run_benchmark
from validation.config import BenchmarkConfig
from validation.rivals import Constant, RandomVectors


def product_key(item: ProductItem, hide: frozenset[str]) -> str:
    return item.product.product_id


def answer_of(shop: Shop):
    answers = {query.query_id: query.product_ids[0] for query in shop.queries}
    return lambda item: answers[item.query_id]


def test_an_encoder_that_knows_scores_one_everywhere(shop: Shop, eval_set: EvalSet, config: BenchmarkConfig) -> None:
    record = run_benchmark(Oracle(product_key, answer_of(shop)), eval_set, config)
    assert len(eval_set.retrieval) == 9
    for task in eval_set.retrieval:
        for metric in ("recall@1", "recall@10", "recall_all@5", "recall_group@1", "mrr", "map", "ndcg@5", "mean_rank"):
            assert record.scores[f"{task.name}/{metric}"].value == 1.0
    leaf = {product.product_id: category_label(product.category) for product in shop.products}
    labels = Oracle(lambda item, hide: leaf[item.product.product_id])
    assert run_benchmark(labels, eval_set, config).scores["category_leaf/accuracy"].value == 1.0


def test_a_constant_encoder_scores_zero_in_every_hit_and_label(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    scores = run_benchmark(Constant(), eval_set, config).scores
    by_rank = ("mrr", "map", "mean_rank")
    assert {score.value for key, score in scores.items() if not key.endswith(by_rank)} == {0.0}
    assert scores["image_to_product/mrr"].value == pytest.approx(1 / 36)
    assert scores["image_to_product/mean_rank"].value == 36


def test_random_vectors_score_chance_within_their_interval(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    record = run_benchmark(RandomVectors(), eval_set, config)
    chance = {
        "image_to_product/recall@1": 1 / 36,
        "image_to_product/recall@10": 10 / 36,
        "text_to_product/recall@5": 5 / 36,
        "text_to_image/recall_all@10": 10 / 36,
        "image_to_text_title_hidden/mean_rank": 37 / 2,
        "text_to_product_title_hidden/mrr": np.mean(1 / np.arange(1, 37)),
        "image_to_text/map": np.mean(1 / np.arange(1, 37)),
        "text_to_image/ndcg@5": np.sum(1 / np.log2(np.arange(2, 7))) / 36,
        "category_leaf/accuracy": 1 / 3,
        "attribute.color/accuracy": 1 / 3,
    }
    for key, expected in chance.items():
        score = record.scores[key]
        assert score.low <= expected <= score.high, key


def test_the_colour_next_door_is_a_group_hit_and_not_a_hit(
    shop: Shop, eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    sibling = {f"p{index:03d}": f"p{index ^ 1:03d}" for index in range(60)}
    right = answer_of(shop)
    record = run_benchmark(Oracle(product_key, lambda item: sibling[right(item)]), eval_set, config)
    assert record.scores["image_to_product/recall@1"].value == 0.0
    assert record.scores["image_to_product/recall_group@1"].value == 1.0


def test_n_pool_and_groups_are_stated(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    record = run_benchmark(Spy(), eval_set, config)
    image, leaf = record.scores["image_to_product/recall@1"], record.scores["category_leaf/accuracy"]
    macro = record.scores["attributes/accuracy_macro"]
    assert (image.n, image.pool, image.num_groups) == (36, 36, 18)
    assert (leaf.n, leaf.pool, leaf.num_groups) == (36, 3, 18)
    assert (macro.n, macro.pool, macro.num_groups) == (54, 2, 18)
    assert all(score.low <= score.value <= score.high for score in record.scores.values())
    assert record.tasks["image_to_product"].query_source == "purchases"
    assert record.tasks["category_leaf_title_hidden"].hide == ("category", "description", "title")


def test_macro_is_the_mean_over_attributes(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    scores = run_benchmark(RandomVectors(), eval_set, config).scores
    parts = [scores[f"attribute.{name}/accuracy"].value for name in ("care", "color")]
    assert scores["attributes/accuracy_macro"].value == pytest.approx(np.mean(parts))


def test_slices_make_up_the_whole(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    record = run_benchmark(RandomVectors(), eval_set, config)
    whole = record.scores["attribute.color/accuracy"]
    told = record.slices["attribute.color/accuracy[word_in_title=yes]"]
    untold = record.slices["attribute.color/accuracy[word_in_title=no]"]
    assert (told.n, untold.n) == (27, 9)
    assert whole.value * whole.n == pytest.approx(told.value * told.n + untold.value * untold.n)


@pytest.mark.parametrize(
    ("modalities", "scored", "refused"),
    [
        ({"image"}, {"image_to_product"}, {"text_to_product", "both_to_product", "category_leaf", "attribute.color"}),
        ({"text"}, {"text_to_product", "category_leaf", "attributes"}, {"image_to_product", "both_to_product"}),
    ],
)
def test_what_an_encoder_cannot_read_is_not_applicable_and_never_zero(
    modalities: set[str], scored: set[str], refused: set[str], eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    spy = Spy()
    spy.modalities = frozenset(modalities)
    record = run_benchmark(spy, eval_set, config)
    tasks = {key.partition("/")[0] for key in record.scores}
    assert scored <= tasks
    assert not refused & tasks
    for task in refused:
        assert record.not_applicable[task].startswith("spy does not read ")
    if "text" not in modalities:
        assert not spy.labels
        assert len(spy.products) == 2 * len(eval_set.gallery), "no label pass for who cannot read labels"


def test_a_pool_too_small_for_k_gives_no_number(tmp_path: Path, config: BenchmarkConfig) -> None:
    shop = stocked(tmp_path, num_test=8)
    record = run_benchmark(Constant(), build_eval_set(shop.catalog(), shop.splits(), config), config)
    assert "image_to_product/recall@10" not in record.scores
    assert "7 wrong products in the pool of 8" in record.not_applicable["image_to_product/recall@10"]
    assert record.scores["image_to_product/recall@5"].value == 0.0


class Broken(Spy):
    """Breaks the protocol in one place."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__()
        self._where, self._what = where, what

    def embed_products(self, items, hide=frozenset()):
        return self._spoil("product", super().embed_products(items, hide))

    def embed_queries(self, items):
        return self._spoil("query", super().embed_queries(items))

    def embed_labels(self, texts):
        return self._spoil("label", super().embed_labels(texts))

    def _spoil(self, where: str, vectors: np.ndarray) -> np.ndarray:
        if where != self._where:
            return vectors
        if self._what == "fewer":
            return vectors[:-1]
        if self._what == "wide":
            return np.hstack([vectors, vectors])
        vectors[1] = {"nan": np.nan, "zero": 0.0, "long": 3.0 * vectors[1]}[self._what]
        return vectors


@pytest.mark.parametrize("where", ["product", "query", "label"])
@pytest.mark.parametrize(
    ("what", "message"),
    [("fewer", "wrong shape"), ("wide", "wrong shape"), ("nan", "not finite"), ("zero", "unit"), ("long", "unit")],
)
def test_a_broken_encoder_is_refused_by_name(
    where: str, what: str, message: str, eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    with pytest.raises(ModelError, match=f"spy returned .*{message}"):
        run_benchmark(Broken(where, what), eval_set, config)


def test_small_score_blocks_change_nothing(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    small = config.model_copy(update={"score_block_mib": 1})
    assert (
        run_benchmark(RandomVectors(), eval_set, small).scores
        == run_benchmark(RandomVectors(), eval_set, config).scores
    )


def test_labels_are_embedded_once(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    spy = Spy()
    run_benchmark(spy, eval_set, config)
    assert len(spy.labels) == len(set(spy.labels))


def test_two_runs_agree_but_for_time_and_memory(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    records = [run_benchmark(Spy(), eval_set, config, commit="c") for _ in range(2)]
    assert all(own.peak_memory_mib and own.timings["product_ms"] > 0 for own in records)
    one, two = (replace(own, timings={}, peak_memory_mib=None) for own in records)
    assert one == two
    assert one.commit == "c"
    assert one.harness_digest == harness_digest()
