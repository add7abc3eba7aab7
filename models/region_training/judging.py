"""How good a detector is on scenes that it never saw: through the very detector and chooser that serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from catalog import Box
from models.region_training.precision_recall import PrecisionRecall, precision_recall
from models.region_training.scene_set import SceneTruth
from models.regions import (
    NOTHING_KNOWN,
    Candidate,
    ChooserConfig,
    CoreRegion,
    RegionChooser,
    RegionDetector,
    RegionsConfig,
    box_iou,
    make_chooser,
)

MIN_IOU = 0.5
_CONFIDENCE = 0.95
_RESAMPLES = 2000
_BATCH_SCENES = 16


@dataclass(frozen=True)
class Score:
    """A mean over scenes with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


@dataclass(frozen=True)
class SceneOutcome:
    """What was found in one scene that has a product."""

    truth: SceneTruth
    candidates: tuple[Candidate, ...]
    chosen: CoreRegion

    @property
    def iou(self) -> float:
        """Of the chosen box with the product's."""
        return box_iou(self.chosen.box, self.truth.core[0])

    @property
    def is_among(self) -> bool:
        """Some candidate overlaps the product by half or more."""
        return any(box_iou(candidate.box, self.truth.core[0]) >= MIN_IOU for candidate in self.candidates)

    @property
    def is_right(self) -> bool:
        """The chosen box overlaps the product by half or more, and more than any other."""
        others = (box_iou(self.chosen.box, box) for box in self.truth.distractors)
        return self.iou >= MIN_IOU and all(self.iou > other for other in others)


@dataclass(frozen=True)
class DetectorScores:
    """One detector on one kind of scenes."""

    part: str
    mean_iou: Score
    """Of the chosen box with the product's, the chooser's padding left out."""
    recall: Score
    """Share of scenes in which some candidate overlaps the product by half or more."""
    core_right: Score
    """Share of scenes in which the chosen box is the product's and not another's."""
    average_precision: float
    """At IoU 0.5, of all products in the scenes."""
    core_average_precision: float
    """At IoU 0.5, of the core alone: a distractor found is an error."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        scores = {name: Score(**data[name]) for name in ("mean_iou", "recall", "core_right")}
        return cls(**(data | scores))


@dataclass(frozen=True)
class Judgement:
    """Scores, and what they were made of."""

    scores: DetectorScores
    outcomes: tuple[SceneOutcome, ...]
    curve: PrecisionRecall
    """Of all products."""


def judging_chooser() -> RegionChooser:
    """The rule as it is by default, its padding apart: a margin for the encoder would count as an error of the box."""
    return make_chooser(RegionsConfig(backend="saliency", chooser=ChooserConfig(padding_frac=0.0)))


def judge_detector(
    part: str,
    truths: Sequence[SceneTruth],
    detector: RegionDetector,
    chooser: RegionChooser | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Look at every scene, choose, compare.

    Args:
        part: Name of the kind of scenes.
        truths: The scenes; those without a product count for the precision alone.
        detector: Any backend.
        chooser: The rule without padding where None.
        progress: Called with (scenes looked at, scenes in all).
    """
    chooser = chooser or judging_chooser()
    found: list[list[Candidate]] = []
    for start in range(0, len(truths), _BATCH_SCENES):
        images = [read_scene(truth) for truth in truths[start : start + _BATCH_SCENES]]
        found += detector.detect(images, [NOTHING_KNOWN] * len(images))
        if progress is not None:
            progress(len(found), len(truths))
    outcomes = tuple(
        SceneOutcome(truth, tuple(candidates), chooser.choose(candidates, truth.size_px, NOTHING_KNOWN))
        for truth, candidates in zip(truths, found, strict=True)
        if truth.core
    )
    every: list[tuple[Box, ...]] = [(*truth.core, *truth.distractors) for truth in truths]
    curve = precision_recall(found, every, MIN_IOU)
    scores = DetectorScores(
        part=part,
        mean_iou=mean_score([outcome.iou for outcome in outcomes]),
        recall=share_score([outcome.is_among for outcome in outcomes]),
        core_right=share_score([outcome.is_right for outcome in outcomes]),
        average_precision=curve.average_precision,
        core_average_precision=precision_recall(found, [truth.core for truth in truths], MIN_IOU).average_precision,
    )
    return Judgement(scores, outcomes, curve)


def read_scene(truth: SceneTruth) -> Image.Image:
    """The scene's picture, decoded."""
    with Image.open(truth.path) as image:
        return image.convert("RGB")


def mean_score(values: Sequence[float]) -> Score:
    """A mean with its percentile bootstrap interval over scenes; of nothing: 0 with n 0."""
    if not values:
        return Score(0.0, 0.0, 0.0, 0)
    array = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(0).integers(len(array), size=(_RESAMPLES, len(array)))
    low, high = np.quantile(array[drawn].mean(axis=1), [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Score(float(array.mean()), float(low), float(high), len(array))


def share_score(hits: Sequence[bool]) -> Score:
    """A share with its Wilson interval, which stands up at 0 and 1; of nothing: 0 with n 0."""
    if not hits:
        return Score(0.0, 0.0, 0.0, 0)
    interval = binomtest(sum(hits), len(hits)).proportion_ci(_CONFIDENCE, method="wilson")
    return Score(sum(hits) / len(hits), float(interval.low), float(interval.high), len(hits))
