"""The chooser: from the candidates of a photograph to its one core region, always with the reason.

Pinned by its digest in the configuration and in a model's lineage: training, evaluation and serving choose alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from catalog import Box
from models.regions.boxes import box_area, clip_box, pad_box, whole_box
from models.regions.config import CategoryPrior, RegionsConfig, RuleChooserConfig
from models.regions.detector import Candidate, settings_digest
from models.regions.wanted import Wanted
from models.regions.wearers import without_wearers

RULE_VERSION = 1
"""Raise it whenever the rule's choice changes for the same parameters: caches and lineages hang on it."""


@dataclass(frozen=True)
class CoreRegion:
    """The part of a photograph that shows the product."""

    box: Box
    """Pixels of the whole picture, inside it."""
    score: float
    """The chosen candidate's score, 0 to 1; that of the best one turned down where the whole picture is kept."""
    reason: str
    """Why this box, or why the whole picture."""


@runtime_checkable
class RegionChooser(Protocol):
    """Picks the core region; a pure function of its arguments."""

    digest: str

    def prompt(self, wanted: Wanted) -> str:
        """The words of `wanted` that change the choice; empty where none does."""
        ...

    def choose(self, candidates: Sequence[Candidate], size_px: tuple[int, int], wanted: Wanted) -> CoreRegion: ...


class WholeImageChooser:
    """Keeps the whole picture: the chooser of the backend `none`."""

    def __init__(self) -> None:
        self.digest = settings_digest("whole", 1, {})

    def prompt(self, wanted: Wanted) -> str:
        return ""

    def choose(self, candidates: Sequence[Candidate], size_px: tuple[int, int], wanted: Wanted) -> CoreRegion:
        return CoreRegion(whole_box(size_px), 0.0, "whole picture: regions.backend is none")


class RuleChooser:
    """Weighs score, size, centrality and the category's prior; reads no title."""

    def __init__(self, cfg: RuleChooserConfig) -> None:
        self.digest = settings_digest("rule", RULE_VERSION, cfg.model_dump(mode="json"))
        self._cfg = cfg
        self._priors = {name.casefold(): prior for name, prior in cfg.category_priors.items()}

    def prompt(self, wanted: Wanted) -> str:
        """The category whose prior counts."""
        return self._prior(wanted.category)[0]

    def choose(self, candidates: Sequence[Candidate], size_px: tuple[int, int], wanted: Wanted) -> CoreRegion:
        """Pick the candidate with the highest weighted sum, or the whole picture when none is sure enough.

        Args:
            candidates: From the detector, boxes in pixels of a picture of `size_px`; cut to it first.
            size_px: Width and height of the picture.
            wanted: The deepest level of its category that has a prior counts.

        Returns:
            The core region, padded, inside the picture.
        """
        cfg = self._cfg
        candidates = without_wearers(candidates)
        inside = [(clip_box(candidate.box, size_px), candidate.score) for candidate in candidates]
        min_side_px = cfg.min_side_frac * max(size_px)
        usable = [(box, score) for box, score in inside if box and max(box[2] - box[0], box[3] - box[1]) >= min_side_px]
        if not usable:
            small = f", {len(candidates)} too small or outside" if candidates else ""
            return CoreRegion(whole_box(size_px), 0.0, f"whole picture: no candidate{small}")
        prior_name, prior = self._prior(wanted.category)
        # Ties go to the earlier candidate: the detector's own order.
        box, score = max(usable, key=lambda pair: self._utility(pair[0], pair[1], size_px, prior))
        if score < cfg.min_score:
            reason = f"whole picture: best candidate's score {score:.2f} is under {cfg.min_score:.2f}"
            return CoreRegion(whole_box(size_px), score, reason)
        share = box_area(box) / (size_px[0] * size_px[1])
        reason = f"best of {len(usable)}: score {score:.2f}, {share:.0%} of the picture"
        if prior is not None:
            reason += f", prior of {prior_name}"
        padding_px = cfg.padding_frac * (box[2] - box[0] + box[3] - box[1]) / 2.0
        return CoreRegion(pad_box(box, padding_px, cfg.min_crop_side_px, size_px), score, reason)

    def _prior(self, category: tuple[str, ...]) -> tuple[str, CategoryPrior | None]:
        for name in reversed(category):
            prior = self._priors.get(name.casefold())
            if prior is not None:
                return name, prior
        return "", None

    def _utility(self, box: Box, score: float, size_px: tuple[int, int], prior: CategoryPrior | None) -> float:
        cfg = self._cfg
        width_px, height_px = size_px
        x_frac = (box[0] + box[2]) / 2.0 / width_px
        y_frac = (box[1] + box[3]) / 2.0 / height_px
        area_frac = box_area(box) / (width_px * height_px)
        centrality = 1.0 - math.hypot(x_frac - 0.5, y_frac - 0.5) / math.hypot(0.5, 0.5)
        utility = cfg.score_weight * score + cfg.size_weight * math.sqrt(area_frac) + cfg.centrality_weight * centrality
        if prior is not None:
            off = math.hypot(x_frac - prior.center_x_frac, y_frac - prior.center_y_frac)
            off += abs(math.sqrt(area_frac) - math.sqrt(prior.area_frac))
            utility += cfg.prior_weight * max(1.0 - off, 0.0)
        return utility


def make_chooser(cfg: RegionsConfig) -> RegionChooser:
    """The chooser that `cfg` names."""
    return WholeImageChooser() if cfg.backend == "none" else RuleChooser(cfg.chooser)
