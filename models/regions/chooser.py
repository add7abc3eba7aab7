"""The chooser: from the candidates of a photograph to its one core region, always with the reason.

Pinned by its digest in the configuration and in a model's lineage: training, evaluation and serving choose alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from catalog import Box
from models.regions.boxes import box_area, box_iou, clip_box, pad_box, whole_box
from models.regions.config import CategoryPrior, ChooserConfig, RegionsConfig
from models.regions.detector import Candidate, note_of, settings_digest
from models.regions.parts import group_share, pair_word, pairs
from models.regions.reasons import Contender, reason_of
from models.regions.wanted import Wanted
from models.regions.wearers import without_wearers

RULE_VERSION = 3
"""Raise it whenever the rule's choice changes for the same parameters: caches and lineages hang on it."""

_SAME_IOU = 0.75
"""A candidate that overlaps the box around two halves so much is the pair itself."""


@dataclass(frozen=True)
class CoreRegion:
    """The part of a photograph that shows the product."""

    box: Box
    """Pixels of the whole picture, inside it."""
    score: float
    """The chosen candidate's score, 0 to 1; that of the best one turned down where the whole picture is kept."""
    reason: str
    """Why this box, or why the whole picture; one line for people."""
    kept_whole: bool = False
    """The whole picture was kept because nothing in it was sure, or nothing was looked for."""


@runtime_checkable
class RegionChooser(Protocol):
    """Picks the core region; a pure function of its arguments."""

    digest: str

    def prompt(self, wanted: Wanted) -> str:
        """The words of `wanted` that change the choice; empty where none does."""
        ...

    def choose(self, candidates: Sequence[Candidate], size_px: tuple[int, int], wanted: Wanted) -> CoreRegion: ...


def _whole(size_px: tuple[int, int], score: float, reason: str) -> CoreRegion:
    return CoreRegion(whole_box(size_px), score, f"whole picture: {reason}", kept_whole=True)


class WholeImageChooser:
    """Keeps the whole picture: the chooser of the backend `none`."""

    def __init__(self) -> None:
        self.digest = settings_digest("whole", 1, {})

    def prompt(self, wanted: Wanted) -> str:
        return ""

    def choose(self, candidates: Sequence[Candidate], size_px: tuple[int, int], wanted: Wanted) -> CoreRegion:
        return _whole(size_px, 0.0, "regions.backend is none")


class RuleChooser:
    """Weighs score, size, centrality, the category's prior and, where asked to, the agreement with the words.

    Weights are of a plain sum, so that no candidate's worth hangs on a worse one beside it; only boxes around several
    things and halves of a pair are judged by what else was found.

    Args:
        cfg: The chooser's section; `kind` encoder counts the agreement that candidates carry.
    """

    def __init__(self, cfg: ChooserConfig) -> None:
        settings = cfg.model_dump(mode="json", exclude={"kind", "encoder"})
        if cfg.kind == "encoder":
            # Not the folder: a model carries the encoder to another place. What it says is the detector's to pin.
            settings["agreement_weight"] = cfg.encoder.weight
        self.digest = settings_digest(cfg.kind, RULE_VERSION, settings)
        self._cfg = cfg
        self._agreement_weight = cfg.encoder.weight if cfg.kind == "encoder" else 0.0
        self._priors = {name.casefold(): prior for name, prior in cfg.category_priors.items()}

    def prompt(self, wanted: Wanted) -> str:
        """The category whose prior counts, and the word that asks for a pair."""
        name, word = self._prior(wanted.category)[0], pair_word(wanted, self._cfg.pair)
        return f"{name}\0{word}" if word else name

    def choose(self, candidates: Sequence[Candidate], size_px: tuple[int, int], wanted: Wanted) -> CoreRegion:
        """Pick the candidate with the highest weighted sum, or the whole picture when none is sure enough.

        Args:
            candidates: From the detector, boxes in pixels of a picture of `size_px`; cut to it first.
            size_px: Width and height of the picture.
            wanted: The deepest level of its category that has a prior counts, and words that ask for a pair.

        Returns:
            The core region, padded, inside the picture.
        """
        cfg = self._cfg
        usable = self._usable(candidates, size_px)
        if not usable:
            small = f", {len(candidates)} too small or outside" if candidates else ""
            note = note_of(candidates)
            said = f"; {note}" if note else ""
            return _whole(size_px, 0.0, f"no candidate{small}{said}")
        sure = [candidate for candidate in usable if candidate.score >= cfg.min_score]
        if not sure:
            score = max(candidate.score for candidate in usable)
            return _whole(size_px, score, f"best candidate's score {score:.2f} is under {cfg.min_score:.2f}")
        # Last: a garment that cannot be chosen, such as a tiny hat, does not take its wearer along.
        judged = without_wearers(sure)
        contenders = self._contenders(judged, size_px, wanted)
        # Ties go to the earlier candidate: the detector's own order.
        contenders.sort(key=lambda contender: -contender.worth)
        best = contenders[0].candidate
        box = best.box
        padding_px = cfg.padding_frac * (box[2] - box[0] + box[3] - box[1]) / 2.0
        padded = pad_box(box, padding_px, cfg.min_crop_side_px, size_px)
        prior_name, _ = self._prior(wanted.category)
        return CoreRegion(padded, best.score, reason_of(contenders, size_px, prior_name, len(judged) < len(sure)))

    def _usable(self, candidates: Sequence[Candidate], size_px: tuple[int, int]) -> list[Candidate]:
        min_side_px = self._cfg.min_side_frac * max(size_px)
        inside = [(candidate, clip_box(candidate.box, size_px)) for candidate in candidates]
        return [
            replace(candidate, box=box)
            for candidate, box in inside
            if box is not None and max(box[2] - box[0], box[3] - box[1]) >= min_side_px
        ]

    def _contenders(self, found: list[Candidate], size_px: tuple[int, int], wanted: Wanted) -> list[Contender]:
        """What was found and, where the words ask for a pair, the boxes around two halves, with what each is worth."""
        pair_cfg = self._cfg.pair
        word = pair_word(wanted, pair_cfg)
        both = list(pairs(found, pair_cfg)) if word else []
        asked = [(one, any(box_iou(one.box, pair.box) >= _SAME_IOU for pair in both)) for one in found]
        # A detector may find the pair itself, and know its edges better than two halves do.
        asked += [(pair, True) for pair in both if all(box_iou(pair.box, one.box) < _SAME_IOU for one in found)]
        _, prior = self._prior(wanted.category)
        return [
            Contender(candidate, self._terms(candidate, size_px, prior, found, is_pair), word if is_pair else "")
            for candidate, is_pair in asked
        ]

    def _prior(self, category: tuple[str, ...]) -> tuple[str, CategoryPrior | None]:
        for name in reversed(category):
            prior = self._priors.get(name.casefold())
            if prior is not None:
                return name, prior
        return "", None

    def _terms(
        self,
        candidate: Candidate,
        size_px: tuple[int, int],
        prior: CategoryPrior | None,
        found: list[Candidate],
        is_pair: bool,
    ) -> dict[str, float]:
        """The parts of the weighted sum, by name."""
        cfg, box = self._cfg, candidate.box
        width_px, height_px = size_px
        x_frac = (box[0] + box[2]) / 2.0 / width_px
        y_frac = (box[1] + box[3]) / 2.0 / height_px
        side_frac = math.sqrt(box_area(box) / (width_px * height_px))
        terms = {
            "score": cfg.score_weight * candidate.score,
            "size": cfg.size_weight * side_frac,
            "centrality": cfg.centrality_weight * (1.0 - math.hypot(x_frac - 0.5, y_frac - 0.5) / math.hypot(0.5, 0.5)),
        }
        if prior is not None:
            off = math.hypot(x_frac - prior.center_x_frac, y_frac - prior.center_y_frac)
            off += abs(side_frac - math.sqrt(prior.area_frac))
            terms["prior"] = cfg.prior_weight * max(1.0 - off, 0.0)
        if self._agreement_weight > 0.0 and candidate.agreement is not None:
            terms["agreement"] = self._agreement_weight * candidate.agreement
        if is_pair:
            terms["pair"] = cfg.pair.weight
        else:
            terms["group"] = -cfg.group_weight * group_share(candidate, found, cfg.pair)
        return terms


def make_chooser(cfg: RegionsConfig) -> RegionChooser:
    """The chooser that `cfg` names."""
    return WholeImageChooser() if cfg.backend == "none" else RuleChooser(cfg.chooser)
