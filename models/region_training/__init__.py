"""Training of a product detector from a catalogue alone: composed scenes, ultralytics' training, judging, export.

A notebook takes the same way as the pipeline: `compose_scenes`, `fit_detector`, `write_weights`, `judge_detector`,
`make_card`, `write_detector`.
"""

from models.region_training.card import make_card
from models.region_training.compose import JUDGED, compose_scenes
from models.region_training.config import DetectorExportConfig, DetectorFitConfig, SceneSetConfig
from models.region_training.export import DetectorCard, read_card, weights_digest, write_detector, write_weights
from models.region_training.fit import TrainedDetector, fit_detector
from models.region_training.judging import DetectorScores, Judgement, Score, judge_detector
from models.region_training.plots import draw_curves, draw_precision_recall, draw_samples
from models.region_training.scene_set import ScenePart, SceneSet, SceneTruth, write_scene_set

__all__ = [
    "JUDGED",
    "DetectorCard",
    "DetectorExportConfig",
    "DetectorFitConfig",
    "DetectorScores",
    "Judgement",
    "ScenePart",
    "SceneSet",
    "SceneSetConfig",
    "SceneTruth",
    "Score",
    "TrainedDetector",
    "compose_scenes",
    "draw_curves",
    "draw_precision_recall",
    "draw_samples",
    "fit_detector",
    "judge_detector",
    "make_card",
    "read_card",
    "weights_digest",
    "write_detector",
    "write_scene_set",
    "write_weights",
]
