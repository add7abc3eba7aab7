"""Train the detector; a killed run goes on after its last whole epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from zenml import step

from catalog import ArtifactName
from models.region_training import DetectorExportConfig, DetectorFitConfig, SceneSet, weights_digest, write_weights
from models.region_training import fit_detector as fit
from steps.code import cache_key, cached_by, code_digest
from steps.curves import log_rows
from steps.materializers import DigestedFolderMaterializer, RecordMaterializer
from steps.records import Files, TrainingRun
from steps.workdir import work_folder, work_key


def cached_under() -> str:
    """What the cache goes by, beside the inputs."""
    return cache_key(__name__)


@step(
    cache_policy=cached_by(cached_under),
    experiment_tracker=True,
    output_materializers={
        ArtifactName.DETECTOR_WEIGHTS.value: DigestedFolderMaterializer,
        ArtifactName.DETECTOR_TRAINING.value: RecordMaterializer,
    },
)
def fit_detector(
    scenes: Files, fit_config: DetectorFitConfig, export: DetectorExportConfig
) -> tuple[
    Annotated[Files, ArtifactName.DETECTOR_WEIGHTS.value],
    Annotated[TrainingRun, ArtifactName.DETECTOR_TRAINING.value],
]:
    """Train from random weights, and write the averaged ones as the detector reads them.

    Raises:
        ModelError: ultralytics is not installed, or the loss is not finite.
        StorageError: Another run works with the same scenes and settings at this moment.
    """
    key = work_key(fit_config.model_dump_json(), scenes.digest, code_digest("models.region_training.fit"))
    with work_folder(f"detector-{key}") as folder:
        trained = fit(SceneSet(Path(scenes.path)), fit_config, folder, lambda row: log_rows([row]))
        weights = write_weights(folder / "weights", export.name, trained.model_cfg, trained.state, export.half)
        record = {"epochs": fit_config.epochs, "seconds": trained.seconds, "digest": weights_digest(weights)}
        return Files(str(weights.parent), weights_digest(weights)), TrainingRun(record, trained.curve)
