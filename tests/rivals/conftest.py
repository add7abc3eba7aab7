"""The evaluation set of the benchmark's own tests."""

from tests.benchmark.conftest import config, eval_set, shop

__all__ = ["config", "eval_set", "shop"]
