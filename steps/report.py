"""The last step: one page, and everything of the run in MLflow, also of steps that were served from the cache."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import mlflow
from zenml import get_step_context, step
from zenml.enums import ExecutionStatus
from zenml.models import PipelineRunResponse
from zenml.types import HTMLString

from catalog import ArtifactName, Catalog
from models.regions import RegionStore
from steps import tracking
from steps.code import commit
from steps.materializers import RecordMaterializer
from steps.records import (
    Benchmark,
    BentoRecord,
    ConfigRecord,
    GateResult,
    ModelFolder,
    Registration,
    TrainingRun,
)
from validation.benchmark import score_table

logger = logging.getLogger(__name__)

NOTHING_CACHED = "-"


@step(
    enable_cache=False,
    experiment_tracker=True,
    output_materializers={ArtifactName.CONFIG.value: RecordMaterializer},
)
def report(
    catalog: Catalog,
    validated_catalog: Catalog,
    data_report: HTMLString,
    regions: RegionStore,
    region_gallery: HTMLString,
    model: ModelFolder,
    training: TrainingRun,
    benchmark: Benchmark,
    decision: GateResult,
    registration: Registration,
    bento: BentoRecord,
    config: dict[str, Any],
) -> tuple[Annotated[HTMLString, ArtifactName.REPORT.value], Annotated[ConfigRecord, ArtifactName.CONFIG.value]]:
    """Write the page and complete the MLflow run. Never cached: a run without its own report would look empty."""
    run = get_step_context().pipeline_run
    page = "<html></html>"
    tracking.log_config(config)
    tracking.log_catalog(catalog, ArtifactName.CATALOG)
    tracking.log_catalog(validated_catalog, ArtifactName.VALIDATED_CATALOG)
    tracking.log_page(data_report, ArtifactName.DATA_REPORT)
    tracking.log_regions(regions)
    tracking.log_page(region_gallery, ArtifactName.REGION_GALLERY)
    tracking.log_folder(model.path, ArtifactName.MODEL)
    tracking.log_record(training, ArtifactName.TRAINING_RECORD)
    tracking.log_curve(training.curve)
    tracking.log_benchmark(benchmark, score_table(benchmark.records))
    tracking.log_record(decision, ArtifactName.DECISION)
    tracking.log_record(registration, ArtifactName.REGISTRATION)
    tracking.log_record(bento, ArtifactName.BENTO)
    tracking.log_page(page, ArtifactName.REPORT)
    mlflow.set_tags(
        {
            "data_digest": catalog.digest,
            "model_digest": model.digest,
            "gate": "pass" if decision.passed else "refuse",
            "model_version": registration.version or "-",
            "bento_tag": bento.tag or "-",
            "commit": commit() or "-",
            "cached_from": cached_from(run) or NOTHING_CACHED,
        }
    )
    return HTMLString(page), ConfigRecord(config)


def cached_from(run: PipelineRunResponse) -> str:
    """Steps of the run that were served from the cache, and the run each was taken from."""
    return ", ".join(
        f"{name} from {row.original_step_run_id}"
        for name, row in run.steps.items()
        if row.status is ExecutionStatus.CACHED
    )
