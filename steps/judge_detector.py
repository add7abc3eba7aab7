"""Judge the detector on scenes of products held out, beside saliency."""

from __future__ import annotations

import atexit
import logging
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Annotated

from zenml import step

from catalog import ArtifactName
from models.region_training import (
    JUDGED,
    DetectorExportConfig,
    DetectorFitConfig,
    SceneSet,
    draw_precision_recall,
    draw_samples,
)
from models.region_training import (
    judge_detector as judge,
)
from models.regions import RegionsConfig, YoloConfig, make_detector
from steps.code import cache_key, cached_by
from steps.materializers import DigestedFolderMaterializer, RecordMaterializer
from steps.progress import log_progress
from steps.records import DetectorJudgement, Files
from steps.workdir import work_key

logger = logging.getLogger(__name__)


def cached_under() -> str:
    """What the cache goes by, beside the inputs."""
    return cache_key(__name__)


@step(
    cache_policy=cached_by(cached_under),
    output_materializers={
        ArtifactName.DETECTOR_JUDGEMENT.value: RecordMaterializer,
        ArtifactName.DETECTOR_PICTURES.value: DigestedFolderMaterializer,
    },
)
def judge_detector(
    scenes: Files, weights: Files, fit_config: DetectorFitConfig, export: DetectorExportConfig
) -> tuple[
    Annotated[DetectorJudgement, ArtifactName.DETECTOR_JUDGEMENT.value],
    Annotated[Files, ArtifactName.DETECTOR_PICTURES.value],
]:
    """Look at every judged scene with the exported file and with saliency; draw curves and overlays, failures first."""
    composed = SceneSet(Path(scenes.path))
    path = Path(weights.path) / f"{export.name}.safetensors"
    yolo = RegionsConfig(backend="yolo", yolo=YoloConfig(weights=str(path), side_px=fit_config.side_px))
    detectors = {"detector": make_detector(yolo), "saliency": make_detector(RegionsConfig(backend="saliency"))}
    place = Path(mkdtemp(prefix="moon-detector-"))
    # The artifact store takes its copy after the step has ended; a shop's pictures must not stay behind.
    atexit.register(rmtree, place, ignore_errors=True)
    judged = {}
    for name, detector in detectors.items():
        for part in JUDGED:
            progress = log_progress(logger, f"{name}, scenes {part}")
            judged[name, part] = judge(part, composed.truths(part), detector, progress=progress)
            logger.info("%s", judged[name, part].scores)
            draw_samples(judged[name, part].outcomes).save(place / f"{name}_{part}.png")
    curves = {part: {name: judged[name, part].curve for name in detectors} for part in JUDGED}
    draw_precision_recall(curves).savefig(place / "precision_recall.png")
    scores = {name: [judged[name, part].scores.to_dict() for part in JUDGED] for name in detectors}
    digest = work_key(scenes.digest, weights.digest)
    return DetectorJudgement(scores["detector"], scores["saliency"]), Files(str(place), digest)
