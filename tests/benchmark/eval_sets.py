"""Evaluation sets of a shop as the tests build them, and their parts by name."""

from __future__ import annotations

from tests.benchmark.shop import Shop
from validation.benchmark import EvalSet, build_eval_set
from validation.config import BenchmarkConfig


def build(shop: Shop, config: BenchmarkConfig = BenchmarkConfig()) -> EvalSet:
    return build_eval_set(shop.catalog(), shop.splits(), config)


def task(eval_set: EvalSet, name: str):
    return next(task for task in eval_set.retrieval if task.name == name)


def question(eval_set: EvalSet, name: str):
    return next(task for task in eval_set.labels if task.name == name)


def ids(eval_set: EvalSet, positions: tuple[int, ...]) -> set[str]:
    return {eval_set.gallery[index].product.product_id for index in positions}
