"""build_benchmark: a shop's catalogue and log in; a frozen evaluation set out."""

from __future__ import annotations

from moon.config import BuildBenchmarkConfig
from pipelines.moon_pipeline import moon_pipeline
from steps.build_benchmark import build_benchmark as build_benchmark_step
from steps.closing import closing_of_building
from steps.ingest_catalog import ingest_catalog


@moon_pipeline(default_recipe="demo.yaml", closing=closing_of_building)
def build_benchmark(config: BuildBenchmarkConfig = BuildBenchmarkConfig()) -> None:
    # The data checks would set leaked photographs aside before the rules that unite their groups have seen them.
    catalog = ingest_catalog(catalog=config.catalog, on_error=config.on_error)
    build_benchmark_step(
        catalog=catalog,
        split=config.catalog.split,
        curating=config.curating,
        benchmark=config.benchmark,
        freezing=config.freezing,
    )
