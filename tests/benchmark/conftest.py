"""A stocked shop and its evaluation set, built once."""

from __future__ import annotations

import pytest

from tests.benchmark.shop import Shop, stocked
from validation.benchmark import EvalSet, build_eval_set
from validation.config import BenchmarkConfig


@pytest.fixture(scope="session")
def config() -> BenchmarkConfig:
    return BenchmarkConfig(min_attribute_n=10, num_bootstrap=100, max_attribute_values=20)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return stocked(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def eval_set(shop: Shop, config: BenchmarkConfig) -> EvalSet:
    return build_eval_set(shop.catalog(), shop.splits(), config)
