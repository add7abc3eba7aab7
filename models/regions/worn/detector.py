"""The stage that adds the worn garment's box to what another detector finds.

Source: our choice throughout. Figure and ground by the plain border; skin and hair by colour models started from the
head and from the locus of human skin; the waist where the colours above and below differ most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from catalog import Box
from catalog.background import background_of
from models.regions.boxes import box_area, box_iou, clip_box, overlap_area, scale_box
from models.regions.config import GarmentKind, WornConfig
from models.regions.detector import GARMENT, Candidate, Candidates, RegionDetector, note_of, settings_digest
from models.regions.wanted import Wanted
from models.regions.worn.figure import shrink
from models.regions.worn.garment import find_garment
from models.regions.worn.kinds import GARMENT_WORDS, WordReader

WORN_VERSION = 2
"""Raise it whenever a box changes for the same parameters: the cache of candidates hangs on it."""

_MIN_SIDE_PX = 24
_MIN_SEEN_FRAC = 0.5
"""Share of the garment that one of the base's candidates must hold: what the base did not see is not trusted."""
_SAME_IOU = 0.9
"""A candidate that overlaps the garment more than this is the garment."""


class WornDetector:
    """The candidates of `base`, and before them the titled garment where a person wears it.

    Args:
        base: Finds the person, among others.
        cfg: The worn section.
        num_candidates: K.
    """

    def __init__(self, base: RegionDetector, cfg: WornConfig, num_candidates: int) -> None:
        settings = cfg.model_dump(mode="json", exclude={"enabled"}) | {
            "base": base.digest,
            "words": dict(GARMENT_WORDS),
            "num_candidates": num_candidates,
        }
        self.digest = settings_digest("worn", WORN_VERSION, settings)
        self._base, self._cfg, self._reader = base, cfg, WordReader(cfg)
        self._num_candidates = num_candidates

    def prompt(self, wanted: Wanted) -> str:
        """The base's prompt, with the kind of garment where a worn one is asked for."""
        kind, prompt = self._reader.read(wanted), self._base.prompt(wanted)
        return prompt if kind is None else "\0".join((prompt, "worn", kind))

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """Candidates of every picture, best first.

        Returns:
            What `base` finds; where a garment is found it comes first, labelled as such, and what is then more than K
            is left out.
        """
        found = self._base.detect(images, wanted)
        return [
            Candidates(self._with_garment(image, candidates, self._reader.read(words)), note_of(candidates))
            for image, candidates, words in zip(images, found, wanted, strict=True)
        ]

    def _with_garment(
        self, image: Image.Image, candidates: list[Candidate], kind: GarmentKind | None
    ) -> list[Candidate]:
        if kind is None or not candidates or background_of(image) != "clean":
            return candidates
        small = shrink(image, self._cfg.side_px)
        if min(small.size) < _MIN_SIDE_PX:
            return candidates
        garment = find_garment(np.asarray(small), kind)
        if garment is None:
            return candidates
        box = clip_box(scale_box(garment.box, image.width / small.width, image.height / small.height), image.size)
        if box is None or max(_held(box, candidate.box) for candidate in candidates) < _MIN_SEEN_FRAC:
            return candidates
        best = max(candidate.score for candidate in candidates)
        first = Candidate(box, best + (1.0 - best) * (0.25 + 0.5 * garment.trust), GARMENT)
        rest = [candidate for candidate in candidates if box_iou(candidate.box, box) < _SAME_IOU]
        return [first, *rest][: self._num_candidates]


def _held(box: Box, holder: Box) -> float:
    """Share of `box` inside `holder`."""
    return overlap_area(box, holder) / box_area(box)
