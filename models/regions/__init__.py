"""Where the product is in a photograph: detectors that propose boxes, the chooser that picks one, and their cache."""

from models.regions.boxes import box_iou, whole_box
from models.regions.building import detection_processes, make_detector
from models.regions.chooser import CoreRegion, RegionChooser, make_chooser
from models.regions.config import (
    AgreementConfig,
    CategoryPrior,
    ChooserConfig,
    PairConfig,
    RegionsConfig,
    SaliencyConfig,
    WornConfig,
    YoloConfig,
)
from models.regions.core import CoreRegions
from models.regions.detect import DetectionStats, detect_catalog, keys_of
from models.regions.detector import Candidate, Candidates, RegionDetector, note_of
from models.regions.gallery import render_gallery
from models.regions.steered_config import GroundingConfig, OpenVocabularyConfig
from models.regions.store import RegionStore, store_key
from models.regions.wanted import NOTHING_KNOWN, Wanted

__all__ = [
    "NOTHING_KNOWN",
    "AgreementConfig",
    "Candidate",
    "Candidates",
    "CategoryPrior",
    "ChooserConfig",
    "CoreRegion",
    "CoreRegions",
    "DetectionStats",
    "GroundingConfig",
    "OpenVocabularyConfig",
    "PairConfig",
    "RegionChooser",
    "RegionDetector",
    "RegionStore",
    "RegionsConfig",
    "SaliencyConfig",
    "Wanted",
    "WornConfig",
    "YoloConfig",
    "box_iou",
    "detect_catalog",
    "detection_processes",
    "keys_of",
    "make_chooser",
    "make_detector",
    "note_of",
    "render_gallery",
    "store_key",
    "whole_box",
]
