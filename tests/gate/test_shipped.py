"""The shipped demo policy at work: who knows passes, who merely looks busy does not."""

from __future__ import annotations

import pytest

from catalog import Embedder, ProductItem
from catalog.labels import attribute_label, category_label
from tests.benchmark.encoders import Oracle
from tests.benchmark.shop import Shop, stocked
from validation.benchmark import (
    BenchmarkRecord,
    ColourHistogram,
    Constant,
    EvalSet,
    RandomVectors,
    TitleWordOverlap,
    build_eval_set,
    label_baselines,
    run_benchmark,
)
from validation.config import BenchmarkConfig, GateConfig
from validation.gate import Decision, decide, load_policy

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
    records = [*(run_benchmark(own, eval_set, CONFIG) for own in encoders), *label_baselines(eval_set, CONFIG)]
    # Random weights are judged as random vectors of another seed: this test knows no network.
    untrained = run_benchmark(RandomVectors(seed=1), eval_set, CONFIG)
    return {record.encoder: record for record in records} | {"untrained": untrained}


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


def judged(record: BenchmarkRecord, rivals: dict[str, BenchmarkRecord]) -> Decision:
    return decide(load_policy(GateConfig()), record, rivals)


def test_an_encoder_that_knows_the_answers_passes(
    shop: Shop, eval_set: EvalSet, rivals: dict[str, BenchmarkRecord]
) -> None:
    decision = judged(run_benchmark(oracle(shop), eval_set, CONFIG), rivals)
    assert decision.passed, decision.as_text()
    assert decision.main_score == 1.0


@pytest.mark.parametrize("name", ["constant", "colour_histogram", "random", "title_words", "majority", "untrained"])
def test_no_rival_passes_and_not_for_want_of_samples(name: str, rivals: dict[str, BenchmarkRecord]) -> None:
    decision = judged(rivals[name], rivals)
    assert not decision.passed
    kinds = {rule.name.partition("/")[0] for rule in decision.failures}
    assert {"floor", "beat"} <= kinds, decision.as_text()


def test_floors_and_rivals_to_beat_each_refuse_by_themselves(rivals: dict[str, BenchmarkRecord]) -> None:
    policy = load_policy(GateConfig())
    for other in (policy.model_copy(update={"floors": {}}), policy.model_copy(update={"beat": {}})):
        for name in ("constant", "random", "colour_histogram"):
            assert not decide(other, rivals[name], rivals).passed
