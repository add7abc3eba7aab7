"""Decide whether the model may be registered."""

from __future__ import annotations

import logging
from typing import Annotated

from zenml import step

from catalog import Alias, ArtifactName, Catalog, SplitConfig, split_catalog
from models.encoder import MoonEncoder
from steps.limits import ingested_limits
from steps.materializers import RecordMaterializer
from steps.records import Benchmark, GateResult
from steps.registry import MODEL_DIGEST_TAG, Registry
from validation.benchmark import BenchmarkRecord, build_eval_set, run_benchmark
from validation.config import BenchmarkConfig, GateConfig
from validation.gate import decide, load_policy

logger = logging.getLogger(__name__)


@step(enable_cache=False, experiment_tracker=True, output_materializers=RecordMaterializer)
def gate(
    catalog: Catalog,
    benchmark: Benchmark,
    split: SplitConfig,
    benchmark_config: BenchmarkConfig,
    gate_config: GateConfig,
) -> Annotated[GateResult, ArtifactName.DECISION.value]:
    """Hold the candidate against the policy, its rivals and the champion. Never cached: the champion changes."""
    registry = Registry()
    version = registry.by_alias(Alias.CHAMPION)
    champion: BenchmarkRecord | None = None
    digest: str | None = None
    if version is not None:
        digest = version.tags[MODEL_DIGEST_TAG]
        champion = registry.benchmark_of(version)
        if champion is None or not _comparable(champion, benchmark.candidate):
            logger.info("scoring champion version %s on this evaluation set", version.version)
            eval_set = build_eval_set(catalog, split_catalog(catalog, split), benchmark_config)
            # Without the stored regions: the champion may look with another detector than this run's.
            encoder = MoonEncoder.load(registry.model_path(version), limits=ingested_limits(catalog))
            champion = run_benchmark(encoder, eval_set, benchmark_config)
    decision = decide(load_policy(gate_config), benchmark.candidate, benchmark.rivals, champion, digest)
    logger.info("%s", decision.headline())
    return GateResult(
        passed=decision.passed,
        text=decision.as_text(),
        decision=decision.to_dict(),
        champion_version=str(version.version) if version is not None else None,
        champion_digest=digest,
        champion=champion.to_dict() if champion is not None else None,
    )


def _comparable(champion: BenchmarkRecord, candidate: BenchmarkRecord) -> bool:
    """Scored by the same code on the same questions."""
    return (champion.eval_set_digest, champion.harness_digest) == (candidate.eval_set_digest, candidate.harness_digest)
