"""What is printed when a run has ended: scores, decision, version, Bento, times, and what to type next."""

from __future__ import annotations

from typing import Any

from zenml.models import ArtifactVersionResponse, PipelineRunResponse

from catalog import ArtifactName
from steps.records import AliasMove, Benchmark, BentoRecord, DetectorJudgement, GateResult, Registration
from steps.times import cached_steps, seconds_by_step
from validation.benchmark import score_table
from validation.freezing import read_digest, read_findings


def closing_of_training(run: PipelineRunResponse) -> str:
    """The end of train_moon."""
    benchmark: Benchmark = _load(run, "evaluate_mbe", ArtifactName.BENCHMARK)
    decision: GateResult = _load(run, "gate", ArtifactName.DECISION)
    registration: Registration = _load(run, "register_model", ArtifactName.REGISTRATION)
    bento: BentoRecord = _load(run, "package_bento", ArtifactName.BENTO)
    page = f"{_artifact(run, 'report', ArtifactName.REPORT).uri}/output.html"
    if registration.refused:
        version = f"none: {registration.reason}"
        following = ["mlflow ui                            # compare runs", "moon runs"]
    else:
        known = "new" if registration.is_new else "the same model was registered before"
        version = f"{registration.name} version {registration.version}, alias challenger ({known})"
        following = [
            "moon serve                           # champion, else this challenger",
            "zenml pipeline run promote_moon      # check its Bento, make it champion",
            "mlflow ui                            # curves, tables, pages of every run",
        ]
    return "\n".join(
        [
            "",
            score_table(benchmark.records),
            decision.text,
            _times(run),
            "",
            f"model version  {version}",
            f"Bento          {bento.tag or 'none: ' + bento.reason}",
            f"report         {page}",
            "",
            "next:",
            *(f"  {line}" for line in following),
        ]
    )


def closing_of_alias(run: PipelineRunResponse) -> str:
    """The end of promote_moon and rollback_moon."""
    name = "move_alias" if "move_alias" in run.steps else "rollback_alias"
    move: AliasMove = _load(run, name, ArtifactName.ALIAS_MOVE)
    before = f"before: version {move.previous}" if move.previous else "there was none before"
    what = "now points at" if move.moved else "stays at"
    return "\n".join(
        [
            "",
            _times(run),
            "",
            f"alias {move.alias} {what} version {move.version} ({before})",
            "",
            "next:",
            "  moon serve                           # the champion, from its Bento",
            "  zenml pipeline run rollback_moon     # the champion before it",
        ]
    )


def closing_of_embedding(run: PipelineRunResponse) -> str:
    """The end of embed_catalog."""
    index = _artifact(run, "embed_catalog", ArtifactName.INDEX)
    return "\n".join(["", _times(run), "", f"index  {index.uri}/files"])


def closing_of_building(run: PipelineRunResponse) -> str:
    """The end of build_benchmark."""
    frozen = _artifact(run, "build_benchmark", ArtifactName.EVAL_SET)
    card = _artifact(run, "build_benchmark", ArtifactName.EVAL_SET_CARD)
    folder = f"{frozen.uri}/files"
    found = [
        f"  {row['count']:6,}  {row['rule']:<26}{row['told']}" for row in read_findings(folder) if row["count"] > 0
    ]
    return "\n".join(
        [
            "",
            "found:",
            *(found or ["  nothing; no rule had anything to do"]),
            "",
            _times(run),
            "",
            f"evaluation set  {folder}",
            f"digest          {read_digest(folder)}",
            f"card            {card.uri}/output.md",
            "",
            "next:",
            f"  moon evaluate --model MODEL --data {folder}",
        ]
    )


def closing_of_regions(run: PipelineRunResponse) -> str:
    """The end of train_regions."""
    judgement: DetectorJudgement = _load(run, "judge_detector", ArtifactName.DETECTOR_JUDGEMENT)
    folder = f"{_artifact(run, 'export_detector', ArtifactName.DETECTOR).uri}/files"
    rows = [("detector", judgement.detector), ("saliency", judgement.saliency)]
    table = [
        f"  {one['part']:<12} {name:<9} {_told(one['mean_iou'])}   {_told(one['recall'])}   {_told(one['core_right'])}"
        for name, scores in rows
        for one in scores
    ]
    return "\n".join(
        [
            "",
            "  held-out scenes        mean IoU               recall at 0.5          core chosen right",
            *table,
            "",
            _times(run),
            "",
            f"detector  {folder}",
            f"card      {folder}/card.md",
            "",
            "next, in a recipe of train_moon:",
            f"  regions: {{backend: yolo, yolo: {{weights: {folder}/NAME.safetensors}}}}",
            "  mlflow ui                            # curves, precision and recall, overlays with failures first",
        ]
    )


def _told(score: dict[str, float]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f}-{score['high']:.3f})"


def _artifact(run: PipelineRunResponse, step_name: str, name: ArtifactName) -> ArtifactVersionResponse:
    return run.steps[step_name].outputs[name.value][0]


def _load(run: PipelineRunResponse, step_name: str, name: ArtifactName) -> Any:
    return _artifact(run, step_name, name).load()


def _times(run: PipelineRunResponse) -> str:
    cached = cached_steps(run)
    rows = [
        f"{name} cached" if name in cached else f"{name} {seconds:.0f} s"
        for name, seconds in seconds_by_step(run).items()
    ]
    if run.start_time and run.end_time:
        rows.append(f"in all {(run.end_time - run.start_time).total_seconds():.0f} s")
    return "times: " + ", ".join(rows)
