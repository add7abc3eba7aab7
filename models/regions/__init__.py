"""Where the product is in a photograph: detectors that propose boxes, the chooser that picks one, and their cache."""

from models.regions.boxes import box_iou, whole_box
from models.regions.building import make_detector
from models.regions.chooser import CoreRegion, RegionChooser, make_chooser
from models.regions.config import (
    CategoryPrior,
    RegionsConfig,
    RuleChooserConfig,
    SaliencyConfig,
    WornConfig,
    YoloConfig,
)
from models.regions.core import CoreRegions
from models.regions.detect import DetectionStats, detect_catalog
from models.regions.detector import Candidate, RegionDetector
from models.regions.gallery import render_gallery
from models.regions.store import RegionStore, store_key
from models.regions.wanted import NOTHING_KNOWN, Wanted

__all__ = [
    "NOTHING_KNOWN",
    "Candidate",
    "CategoryPrior",
    "CoreRegion",
    "CoreRegions",
    "DetectionStats",
    "RegionChooser",
    "RegionDetector",
    "RegionStore",
    "RegionsConfig",
    "RuleChooserConfig",
    "SaliencyConfig",
    "Wanted",
    "WornConfig",
    "YoloConfig",
    "box_iou",
    "detect_catalog",
    "make_chooser",
    "make_detector",
    "render_gallery",
    "store_key",
    "whole_box",
]
