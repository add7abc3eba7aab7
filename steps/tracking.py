"""What a run leaves in MLflow, whether its steps ran or were served from the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import mlflow
import yaml

from catalog import ArtifactName, Catalog, write_catalog
from models.region_training import DetectorScores
from models.regions import RegionStore
from steps.curves import Row, log_rows, mlflow_key
from steps.records import Benchmark, Record
from steps.registry import CANDIDATE_FILE, OUTCOMES_FILE
from validation.benchmark import main_score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE_FILE = "scores.json"
PARAMETERS_PER_CALL = 100


def active_run_id() -> str:
    """The MLflow run that all steps of this pipeline run share."""
    run = mlflow.active_run()
    assert run is not None, "only steps with the experiment tracker ask"
    return str(run.info.run_id)


def log_config(config: Mapping[str, Any]) -> None:
    """The resolved tree: one parameter a leaf, and the whole as YAML."""
    leaves = [(mlflow_key(name), value) for name, value in flatten(config)]
    for start in range(0, len(leaves), PARAMETERS_PER_CALL):
        mlflow.log_params(dict(leaves[start : start + PARAMETERS_PER_CALL]))
    mlflow.log_text(
        yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), f"{ArtifactName.CONFIG}/config.yaml"
    )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping under dotted names; lists are leaves, and an empty mapping is one too."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def log_curve(curve: list[Row]) -> None:
    """Replay the training curve into a run whose training came from the cache."""
    known = mlflow.get_run(active_run_id()).data.metrics
    if not any(name.startswith("train/") for name in known):
        log_rows(curve)


def log_catalog(catalog: Catalog, name: ArtifactName) -> None:
    """Tables and manifest; the images stay where they are."""
    with TemporaryDirectory() as folder:
        write_catalog(catalog, folder)
        mlflow.log_artifacts(folder, name.value)


def log_regions(regions: RegionStore) -> None:
    """The stored candidate boxes."""
    with TemporaryDirectory() as folder:
        regions.write(folder)
        mlflow.log_artifacts(folder, ArtifactName.REGIONS.value)


def log_folder(path: str, name: ArtifactName) -> None:
    """A folder of files, once a run."""
    if not mlflow.MlflowClient().list_artifacts(active_run_id(), name.value):
        mlflow.log_artifacts(path, name.value)


def log_record(record: Record, name: ArtifactName) -> None:
    """A record as JSON."""
    text = json.dumps(record.to_dict(), indent=1, ensure_ascii=False)
    mlflow.log_text(text, f"{name}/{name}.json")


def log_page(html: str, name: ArtifactName) -> None:
    """A page, shown by the MLflow UI when its artifact is chosen."""
    mlflow.log_text(html, f"{name}/{name}.html")


def log_frozen_set(folder: Path, digest: str, counts: Mapping[str, int]) -> None:
    """A frozen evaluation set: card and findings as files, what each rule found as metrics, the digest as a tag."""
    mlflow.set_tag("eval_set_digest", digest)
    mlflow.log_metrics({mlflow_key(f"found/{rule}"): float(count) for rule, count in counts.items()})
    for path in sorted(folder.iterdir()):
        if path.is_file():
            mlflow.log_artifact(str(path), ArtifactName.EVAL_SET.value)


def log_detector_scores(scores: Sequence[DetectorScores]) -> None:
    """Scores of a detector as metrics, those of each kind of scenes under its name."""
    for one in scores:
        shares = {"mean_iou": one.mean_iou, "recall": one.recall, "core_right": one.core_right}
        values = {name: score.value for name, score in shares.items()}
        values |= {"ap50": one.average_precision, "core_ap50": one.core_average_precision}
        mlflow.log_metrics({f"held_out/{one.part}/{name}": value for name, value in values.items()})


def log_summary(markdown: str, name: ArtifactName) -> None:
    """The page's summary for a pull request."""
    mlflow.log_text(markdown, f"{name}/{name}.md")


def log_figures(drawn: Mapping[str, Figure], name: ArtifactName) -> None:
    """Figures, each under its own name."""
    for own, figure in drawn.items():
        mlflow.log_figure(figure, f"{name}/figures/{own}.png")


def log_candidate(benchmark: Benchmark) -> None:
    """What the registry reads of a version: its scores, and its values item by item where they were kept."""
    mlflow.log_text(benchmark.candidate.to_json(), f"{ArtifactName.BENCHMARK}/{CANDIDATE_FILE}")
    items = benchmark.outcomes.get(benchmark.candidate.encoder)
    if items is not None:
        mlflow.log_text(json.dumps(items), f"{ArtifactName.BENCHMARK}/{OUTCOMES_FILE}")


def log_benchmark(benchmark: Benchmark, table: str) -> None:
    """The candidate's scores as metrics; all encoders as a table and as records."""
    scores = {mlflow_key(f"test/{name}"): score.value for name, score in benchmark.candidate.scores.items()}
    mlflow.log_metrics({"test/main_score": main_score(benchmark.candidate), **scores})
    rows = [
        (record.encoder, name, score.value, score.low, score.high, score.n, score.pool)
        for record in benchmark.records
        for name, score in sorted(record.scores.items())
    ]
    columns = ("encoder", "metric", "value", "low", "high", "n", "pool")
    data = {column: [row[index] for row in rows] for index, column in enumerate(columns)}
    mlflow.log_table(data, f"{ArtifactName.BENCHMARK}/{TABLE_FILE}")
    mlflow.log_text(table, f"{ArtifactName.BENCHMARK}/scores.txt")
    log_candidate(benchmark)
    for name, record in benchmark.rivals.items():
        mlflow.log_text(record.to_json(), f"{ArtifactName.BENCHMARK}/rivals/{Path(name).name}.json")
