"""Decide whether the model may be registered."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated

from zenml import step

from catalog import Alias, ArtifactName, Catalog, SplitConfig, split_catalog
from models.encoder import MoonEncoder
from steps.limits import ingested_limits
from steps.materializers import RecordMaterializer
from steps.records import Benchmark, GateResult
from steps.registry import ENCODER_DIGEST_TAG, MODEL_DIGEST_TAG, Registry, crops_of
from validation.benchmark import BenchmarkRecord, build_eval_set, judge
from validation.config import BenchmarkConfig
from validation.gate import GateConfig, decide, load_policy
from validation.statistics import Outcome, outcomes_to_dict

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
    registry, policy = Registry(), load_policy(gate_config)
    version = registry.by_alias(Alias.CHAMPION)
    champion: BenchmarkRecord | None = None
    champion_outcomes: dict[str, Outcome] | None = None
    digest: str | None = None
    if version is not None:
        digest = version.tags.get(ENCODER_DIGEST_TAG) or version.tags[MODEL_DIGEST_TAG]
        champion, champion_outcomes = registry.benchmark_of(version), registry.outcomes_of(version)
        lacks_items = policy.is_paired() and champion_outcomes is None
        if champion is None or lacks_items or not _comparable(champion, benchmark.candidate):
            logger.info("scoring champion version %s on this evaluation set", version.version)
            eval_set = build_eval_set(catalog, split_catalog(catalog, split), benchmark_config)
            # Without the stored regions: the champion may look with another detector than this run's.
            encoder = MoonEncoder.load(
                registry.model_path(version), limits=ingested_limits(catalog), crops=crops_of(version)
            )
            champion, champion_outcomes = judge(encoder, eval_set, benchmark_config)
    decision = decide(
        policy,
        benchmark.candidate,
        benchmark.rivals,
        champion,
        digest,
        outcomes=benchmark.outcomes_of(benchmark.candidate.encoder),
        rival_outcomes={name: benchmark.outcomes_of(name) or {} for name in benchmark.rivals},
        champion_outcomes=champion_outcomes,
        today=datetime.now(tz=UTC).date(),
    )
    logger.info("%s", decision.headline())
    return GateResult(
        passed=decision.passed,
        text=decision.as_text(),
        decision=decision.to_dict(),
        champion_version=str(version.version) if version is not None else None,
        champion_digest=digest,
        champion=champion.to_dict() if champion is not None else None,
        champion_outcomes=outcomes_to_dict(champion_outcomes) if champion_outcomes is not None else None,
    )


def _comparable(champion: BenchmarkRecord, candidate: BenchmarkRecord) -> bool:
    """Scored by the same code on the same questions, with intervals of the same confidence."""
    asked = ((one.eval_set_digest, one.harness_digest, one.confidence) for one in (champion, candidate))
    return next(asked) == next(asked)
