"""Names that more than one room must agree on."""

from __future__ import annotations

from enum import StrEnum


class ArtifactName(StrEnum):
    """ZenML artifact names; MLflow keeps the same artifact in a folder of the same name."""

    CATALOG = "catalog"
    VALIDATED_CATALOG = "validated_catalog"
    DATA_REPORT = "data_report"
    REGIONS = "regions"
    REGION_GALLERY = "region_gallery"
    MODEL = "model"
    TRAINING_RECORD = "training_record"
    BENCHMARK = "benchmark"
    DECISION = "decision"
    REGISTRATION = "registration"
    BENTO = "bento"
    REPORT = "report"
    CONFIG = "config"
    PARITY = "parity"
    ALIAS_MOVE = "alias_move"
    INDEX = "index"
    EVAL_SET = "eval_set"
    EVAL_SET_CARD = "eval_set_card"
    SCENES = "scenes"
    DETECTOR_WEIGHTS = "detector_weights"
    DETECTOR_TRAINING = "detector_training"
    DETECTOR_JUDGEMENT = "detector_judgement"
    DETECTOR_PICTURES = "detector_pictures"
    DETECTOR = "detector"
    DETECTOR_CARD = "detector_card"
    INSIDE = "inside"
    """Figures of what the model looks at; in MLflow alone."""


class Alias(StrEnum):
    """MLflow registry aliases."""

    CHALLENGER = "challenger"
    CHAMPION = "champion"


REGISTERED_MODEL = "moon"
EXPERIMENT = "train_moon"
