"""The shipped policies at work: who knows passes, who merely looks busy does not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from catalog import Embedder, ProductItem, QueryItem
from catalog.labels import attribute_label, category_label
from tests.benchmark.encoders import Oracle
from tests.benchmark.shop import Shop, stocked
from validation.benchmark import BenchmarkRecord, EvalSet, build_eval_set, run_benchmark
from validation.config import BenchmarkConfig
from validation.gate import Decision, GateConfig, decide, load_policy
from validation.rivals import ColourHistogram, Constant, RandomVectors, TitleWordOverlap, judge_majority

POLICIES = ("demo", "luma")
CONFIG = BenchmarkConfig(num_bootstrap=100, max_attribute_values=20)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return stocked(tmp_path_factory.mktemp("shop"), num_test=72)


@pytest.fixture(scope="module")
def eval_set(shop: Shop) -> EvalSet:
    return build_eval_set(shop.catalog(), shop.splits(), CONFIG)


@pytest.fixture(scope="module")
def rivals(shop: Shop, eval_set: EvalSet) -> dict[str, BenchmarkRecord]:
    encoders: list[Embedder] = [RandomVectors(), ColourHistogram(), TitleWordOverlap(shop.catalog()), Constant()]
    records = [*(run_benchmark(own, eval_set, CONFIG) for own in encoders), judge_majority(eval_set, CONFIG)[0]]
    # Random weights are judged as random vectors of another seed: this test knows no network.
    untrained = run_benchmark(RandomVectors(seed=1), eval_set, CONFIG)
    frozen = run_benchmark(RandomVectors(seed=2), eval_set, CONFIG)
    return {record.encoder: record for record in records} | {"untrained": untrained, "frozen_vision": frozen}


def oracle(shop: Shop) -> Oracle:
    answers = {query.query_id: query.product_ids[0] for query in shop.queries}
    rows = {product.product_id: product for product in shop.products}

    def of_product(item: ProductItem, hide: frozenset[str]) -> str | tuple[str, ...]:
        row = rows[item.product.product_id]
        if "category" in hide:
            return tuple(category_label(row.category[:level]) for level in (1, 2, 3))
        name = next((field.removeprefix("attributes.") for field in hide if field.startswith("attributes.")), None)
        if name is None:
            return row.product_id
        value = row.attributes[name]
        return attribute_label(name, value if isinstance(value, str) else value[0])

    return Oracle(of_product, lambda query: answers[query.query_id])


class SideBySide:
    """Colours and words in one vector: reads everything and has learnt nothing."""

    name = "side_by_side"
    digest = "side_by_side"
    modalities = frozenset({"text", "image"})

    def __init__(self, words: TitleWordOverlap) -> None:
        self._colours, self._words = ColourHistogram(), words
        self.dims = self._colours.dims + words.dims

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        items = list(items)
        return self._joined(self._colours.embed_products(items, hide), self._words.embed_products(items, hide))

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        items = list(items)
        return self._joined(self._colours.embed_queries(items), self._words.embed_queries(items))

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        texts = list(texts)
        no_photo = self._colours.embed_queries([QueryItem(text) for text in texts])
        return self._joined(no_photo, self._words.embed_labels(texts))

    def _joined(self, colours: np.ndarray, words: np.ndarray) -> np.ndarray:
        return np.concatenate([colours, words], axis=1) / np.float32(2**0.5)


def judged(record: BenchmarkRecord, rivals: dict[str, BenchmarkRecord], policy: str = "demo") -> Decision:
    return decide(load_policy(GateConfig(policy=f"configs/gates/{policy}.yaml")), record, rivals)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_encoder_that_knows_the_answers_passes(
    policy: str, shop: Shop, eval_set: EvalSet, rivals: dict[str, BenchmarkRecord]
) -> None:
    decision = judged(run_benchmark(oracle(shop), eval_set, CONFIG), rivals, policy)
    assert decision.passed, decision.as_text()
    assert decision.main_score == 1.0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["constant", "colour_histogram", "random", "title_words", "majority", "untrained"])
def test_no_rival_passes_and_not_for_want_of_samples(
    name: str, policy: str, rivals: dict[str, BenchmarkRecord]
) -> None:
    decision = judged(rivals[name], rivals, policy)
    assert not decision.passed
    kinds = {rule.name.partition("/")[0] for rule in decision.failures}
    assert {"floor", "beat"} <= kinds, decision.as_text()


@pytest.mark.parametrize("policy", POLICIES)
def test_putting_two_rivals_side_by_side_is_no_way_past_them(
    policy: str, shop: Shop, eval_set: EvalSet, rivals: dict[str, BenchmarkRecord]
) -> None:
    both = run_benchmark(SideBySide(TitleWordOverlap(shop.catalog())), eval_set, CONFIG)
    decision = judged(both, rivals, policy)
    failed = {rule.name for rule in decision.failures}
    assert any(name.startswith("beat/colour_histogram/") for name in failed), decision.as_text()
    assert any(name.startswith("beat/title_words/") for name in failed), decision.as_text()


def test_floors_and_rivals_to_beat_each_refuse_by_themselves(rivals: dict[str, BenchmarkRecord]) -> None:
    policy = load_policy(GateConfig())
    for other in (policy.model_copy(update={"floors": {}}), policy.model_copy(update={"beat": {}})):
        for name in ("constant", "random", "colour_histogram"):
            assert not decide(other, rivals[name], rivals).passed
