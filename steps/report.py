"""The last step: one page, and everything of the run in MLflow, also of steps that were served from the cache."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import mlflow
import yaml
from zenml import get_step_context, step
from zenml.client import Client
from zenml.models import PipelineRunResponse
from zenml.types import HTMLString

from catalog import ArtifactName, Catalog, SplitConfig
from models.regions import RegionStore
from steps import tracking
from steps.code import commit
from steps.inside import log_expert_load, log_inside
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
from steps.showcase import rows_from_data
from steps.times import cached_steps, seconds_by_step
from validation.benchmark import BenchmarkRecord, score_table
from validation.report import RunReport, figures, render_markdown, render_report

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
    split: SplitConfig,
    config: dict[str, Any],
) -> tuple[Annotated[HTMLString, ArtifactName.REPORT.value], Annotated[ConfigRecord, ArtifactName.CONFIG.value]]:
    """Write the page and complete the MLflow run. Never cached: a run without its own report would look empty."""
    run = get_step_context().pipeline_run
    told = _told(run, validated_catalog, model, training, benchmark, decision, registration, bento, config)
    page = render_report(told)
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
    tracking.log_summary(render_markdown(told), ArtifactName.REPORT)
    tracking.log_figures(figures(told), ArtifactName.REPORT)
    log_inside(model, validated_catalog, split, regions)
    log_expert_load(training)
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


def _told(
    run: PipelineRunResponse,
    catalog: Catalog,
    model: ModelFolder,
    training: TrainingRun,
    benchmark: Benchmark,
    decision: GateResult,
    registration: Registration,
    bento: BentoRecord,
    config: dict[str, Any],
) -> RunReport:
    records, champion_name = list(benchmark.records), None
    if decision.champion is not None and decision.champion_digest != benchmark.candidate.encoder_digest:
        champion = BenchmarkRecord.from_dict(decision.champion)
        champion_name = f"champion {decision.champion_version}"
        records.append(replace(champion, encoder=champion_name))
    examples, cores = rows_from_data(benchmark.examples, catalog)
    names = sorted({name for row in training.curve for name in row if name != "step"})
    return RunReport(
        title=run.name,
        records=records,
        decision=decision.to_decision(),
        champion=champion_name,
        outcomes=benchmark.outcomes_of(benchmark.candidate.encoder),
        champion_outcomes=decision.outcomes_of_champion() if champion_name else None,
        gallery=examples,
        cores=cores,
        curves={name: [(int(row["step"]), row[name]) for row in training.curve if name in row] for name in names},
        phases_s=seconds_by_step(run),
        lineage={
            "data digest": catalog.digest,
            "model digest": model.digest,
            "model version": registration.version or registration.reason,
            "Bento": bento.tag or bento.reason,
            **{name.replace("_", " "): str(value) for name, value in training.record["lineage"].items()},
            "from the cache": cached_from(run) or "nothing",
        },
        config_yaml=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )


def cached_from(run: PipelineRunResponse) -> str:
    """Steps of the run that were served from the cache, and the run each was taken from."""
    client = Client()
    taken = []
    for name, original in cached_steps(run).items():
        source = client.get_run_step(UUID(original)).pipeline_run_id
        taken.append(f"{name} from {client.get_pipeline_run(source, hydrate=False).name}")
    return ", ".join(taken)
