"""Put an accepted model into the registry as the challenger."""

from __future__ import annotations

import logging
from typing import Annotated

from zenml import step

from catalog import Alias, ArtifactName, Catalog
from models.config import Crops
from steps.curves import mlflow_key
from steps.materializers import RecordMaterializer
from steps.model_card import model_card
from steps.records import Benchmark, GateResult, ModelFolder, Registration, TrainingRun
from steps.registry import CROPS_TAG, ENCODER_DIGEST_TAG, Registry
from steps.tracking import active_run_id, log_candidate, log_folder

logger = logging.getLogger(__name__)


@step(enable_cache=False, experiment_tracker=True, output_materializers=RecordMaterializer)
def register_model(
    catalog: Catalog,
    model: ModelFolder,
    training: TrainingRun,
    benchmark: Benchmark,
    decision: GateResult,
    crops: Crops | None = None,
) -> Annotated[Registration, ArtifactName.REGISTRATION.value]:
    """Register the model and point `challenger` at it; a refusal touches nothing.

    Never cached, because the registry can change behind our back; the same weights, configuration and tokenizer, served
    with the same crops, are the same version however often they are registered.

    Args:
        catalog: What it was trained and judged on.
        model: The candidate.
        training: How it was trained.
        benchmark: Its scores.
        decision: The gate's.
        crops: Those it was judged with, to be served with; None: as it was trained.
    """
    if not decision.passed:
        return Registration(refused=True, reason="refused by the gate", model_digest=model.digest)
    registry, judged = Registry(), benchmark.candidate.encoder_digest
    # What is said to be served as it was trained is no other version than one of which nothing is said.
    served = {CROPS_TAG: crops, ENCODER_DIGEST_TAG: judged} if crops is not None and judged != model.digest else {}
    version = registry.by_digest(model.digest, served.get(CROPS_TAG))
    is_new = version is None
    if version is None:
        lineage = training.record["lineage"]
        tags = {
            "data_digest": catalog.digest,
            "eval_set_digest": benchmark.candidate.eval_set_digest,
            "harness_digest": benchmark.candidate.harness_digest,
            "gate": "pass",
            **served,
            **{name: str(lineage[name]) for name in ("commit", "code_digest", "weights_digest") if name in lineage},
            **{mlflow_key(name): f"{score.value:.4f}" for name, score in benchmark.candidate.scores.items()},
        }
        log_folder(model.path, ArtifactName.MODEL)
        log_candidate(benchmark)
        card = model_card(catalog, model, training, benchmark, decision)
        version = registry.register(active_run_id(), model.digest, tags, card)
    registry.keep_waivers(version, decision.to_decision().used_waivers)
    registry.point(Alias.CHALLENGER, version.version)
    logger.info("%s version %s, alias %s", registry.name, version.version, Alias.CHALLENGER)
    return Registration(
        refused=False,
        name=registry.name,
        version=str(version.version),
        model_digest=model.digest,
        is_new=is_new,
    )
