"""Judge the model on held-out products, beside everything it has to beat."""

from __future__ import annotations

import logging
from typing import Annotated

from zenml import step
from zenml.config.cache_policy import CachePolicy

from catalog import ArtifactName, Catalog, SplitConfig, split_catalog
from models.encoder import MoonEncoder
from models.regions import RegionStore
from models.rivals import FrozenVision, untrained_encoder
from steps.code import code_digest, commit
from steps.limits import ingested_limits
from steps.materializers import RecordMaterializer
from steps.records import Benchmark, ModelFolder
from validation.benchmark import (
    ColourHistogram,
    RandomVectors,
    TitleWordOverlap,
    build_eval_set,
    label_baselines,
    run_benchmark,
    score_table,
)
from validation.config import BenchmarkConfig

logger = logging.getLogger(__name__)


def code() -> str:
    """Digest of the code this step stands on."""
    return code_digest(__name__)


@step(cache_policy=CachePolicy(cache_func=code), output_materializers=RecordMaterializer)
def evaluate_mbe(
    catalog: Catalog, regions: RegionStore, model: ModelFolder, split: SplitConfig, benchmark: BenchmarkConfig
) -> Annotated[Benchmark, ArtifactName.BENCHMARK.value]:
    """Zero-shot retrieval, category and attributes, with intervals; the rivals are run, not assumed."""
    eval_set = build_eval_set(catalog, split_catalog(catalog, split), benchmark)
    encoder = MoonEncoder.load(model.path, store=regions, limits=ingested_limits(catalog))
    untrained = untrained_encoder(model.path)
    rivals = (
        untrained,
        FrozenVision(untrained),
        ColourHistogram(),
        TitleWordOverlap(catalog),
        RandomVectors(),
    )
    candidate = run_benchmark(encoder, eval_set, benchmark, commit=commit())
    records = [run_benchmark(rival, eval_set, benchmark) for rival in rivals]
    records += label_baselines(eval_set, benchmark)
    scored = Benchmark(candidate, {record.encoder: record for record in records})
    logger.info("scores on held-out products\n%s", score_table(scored.records))
    return scored
