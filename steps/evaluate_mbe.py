"""Judge the model on held-out products, beside everything it has to beat."""

from __future__ import annotations

import logging
from typing import Annotated

from zenml import step

from catalog import ArtifactName, Catalog, SplitConfig, split_catalog
from models.config import Crops
from models.encoder import MoonEncoder
from models.regions import CoreRegions, RegionsConfig, RegionStore, make_chooser, make_detector
from models.rivals import FrozenVision, untrained_encoder
from steps.code import cache_key, cached_by, commit
from steps.limits import ingested_limits
from steps.materializers import RecordMaterializer
from steps.records import Benchmark, ModelFolder
from steps.showcase import rows_to_data
from validation.benchmark import build_eval_set, gallery_and_failures, judge, main_score
from validation.config import BenchmarkConfig
from validation.rivals import BM25, ColourHistogram, RandomVectors, TitleWordOverlap, judge_majority
from validation.statistics import outcomes_to_dict, without_slices

logger = logging.getLogger(__name__)


def cached_under() -> str:
    """What the cache goes by, beside the inputs."""
    return cache_key(__name__)


@step(cache_policy=cached_by(cached_under), output_materializers=RecordMaterializer)
def evaluate_mbe(
    catalog: Catalog,
    regions: RegionStore,
    model: ModelFolder,
    split: SplitConfig,
    regions_config: RegionsConfig,
    benchmark: BenchmarkConfig,
    crops: Crops | None = None,
) -> Annotated[Benchmark, ArtifactName.BENCHMARK.value]:
    """Zero-shot retrieval, category and attributes, with intervals; the rivals are run, not assumed.

    Args:
        catalog: The validated catalogue.
        regions: Core regions found before.
        model: The candidate.
        split: Which products are held out.
        regions_config: How core regions are found.
        benchmark: What is asked.
        crops: Those it will be served with; None: as it was trained.
    """
    eval_set = build_eval_set(catalog, split_catalog(catalog, split), benchmark)
    encoder = MoonEncoder.load(model.path, store=regions, limits=ingested_limits(catalog), crops=crops)
    untrained = untrained_encoder(model.path)
    rivals = (
        untrained,
        FrozenVision(untrained),
        ColourHistogram(),
        TitleWordOverlap(catalog),
        BM25(catalog.products),
        RandomVectors(),
    )
    candidate, items = judge(encoder, eval_set, benchmark, commit=commit())
    judged = [judge(rival, eval_set, benchmark) for rival in rivals]
    judged.append(judge_majority(eval_set, benchmark))
    logger.info("main score %.3f, 0 to 1; every score stands in the table at the end", main_score(candidate))
    core = CoreRegions(make_detector(regions_config), make_chooser(regions_config), regions)
    examples = rows_to_data(gallery_and_failures(encoder, eval_set), core)
    outcomes = {candidate.encoder: outcomes_to_dict(items)}
    outcomes |= {record.encoder: outcomes_to_dict(without_slices(items)) for record, items in judged}
    return Benchmark(candidate, {record.encoder: record for record, _ in judged}, examples, outcomes)
