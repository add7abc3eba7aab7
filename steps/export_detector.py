"""Write the detector with its card, and log the run whole."""

from __future__ import annotations

import atexit
import logging
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Annotated, Any

import mlflow
from zenml import step
from zenml.types import MarkdownString

from catalog import ArtifactName, Catalog
from models.region_training import (
    DetectorExportConfig,
    DetectorFitConfig,
    DetectorScores,
    SceneSet,
    SceneSetConfig,
    draw_curves,
    make_card,
    write_detector,
)
from steps import tracking
from steps.code import commit
from steps.materializers import DigestedFolderMaterializer
from steps.records import DetectorJudgement, Files, TrainingRun

logger = logging.getLogger(__name__)


@step(
    enable_cache=False,
    experiment_tracker=True,
    output_materializers={ArtifactName.DETECTOR.value: DigestedFolderMaterializer},
)
def export_detector(
    catalog: Catalog,
    scenes: Files,
    weights: Files,
    training: TrainingRun,
    judgement: DetectorJudgement,
    pictures: Files,
    scenes_config: SceneSetConfig,
    fit_config: DetectorFitConfig,
    export: DetectorExportConfig,
    config: dict[str, Any],
) -> tuple[Annotated[Files, ArtifactName.DETECTOR.value], Annotated[MarkdownString, ArtifactName.DETECTOR_CARD.value]]:
    """Never cached: it may write a folder that the cache does not know of, and a run without its log looks empty.

    Raises:
        StorageError: `export.folder` cannot be written, or holds something else than a detector.
    """
    path = Path(weights.path) / f"{export.name}.safetensors"
    card = make_card(
        catalog,
        SceneSet(Path(scenes.path)),
        (scenes_config, fit_config, export),
        path,
        training.record["seconds"],
        [DetectorScores.from_dict(row) for row in judgement.detector],
        [DetectorScores.from_dict(row) for row in judgement.saliency],
        commit(),
    )
    place = Path(mkdtemp(prefix="moon-detector-"))
    # The artifact store takes its copy after the step has ended.
    atexit.register(rmtree, place, ignore_errors=True)
    write_detector(place / "detector", path, card)
    if export.folder is not None:
        write_detector(Path(export.folder), path, card)
        logger.info("detector written to %s", export.folder)
    tracking.log_config(config)
    tracking.log_curve(training.curve)
    tracking.log_record(judgement, ArtifactName.DETECTOR_JUDGEMENT)
    tracking.log_detector_scores(card.scores)
    tracking.log_folder(pictures.path, ArtifactName.DETECTOR_PICTURES)
    tracking.log_figures({"curves": draw_curves(training.curve)}, ArtifactName.DETECTOR_TRAINING)
    tracking.log_folder(str(place / "detector"), ArtifactName.DETECTOR)
    mlflow.set_tags({"data_digest": catalog.digest, "detector_digest": weights.digest, "commit": commit() or "-"})
    return Files(str(place / "detector"), weights.digest), MarkdownString(card.markdown())
