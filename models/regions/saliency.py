"""The detector without weights: what differs from the border and does not belong to it is the product.

Three cues on a small picture: distance to the border's colours, geodesic distance to the border, and colour models
of what the first two call product and ground. numpy, Pillow and scipy only, and no random number.

Source: geodesic saliency with a border that is itself weighed (Wei et al. 2012; Zhu et al. 2014, boundary
connectivity), histogram posteriors as one GrabCut round. Deviations: colours are clustered by median cut instead of
superpixels, and the border's clusters are weighed by their share of the border.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from models.regions.boxes import clip_box, scale_box
from models.regions.config import SaliencyConfig
from models.regions.detector import Candidate, settings_digest
from models.regions.proposals import propose_boxes
from models.regions.saliency_maps import foreground_map
from models.regions.wanted import Wanted

SALIENCY_VERSION = 2
"""Raise it whenever a box changes for the same parameters: the cache of candidates hangs on it."""

_MIN_SIDE_PX = 8
"""A working picture narrower than this holds no object that could be told from its border."""


class SaliencyDetector:
    """Candidate boxes from contrast with the border."""

    def __init__(self, cfg: SaliencyConfig, num_candidates: int) -> None:
        settings = cfg.model_dump(mode="json") | {"num_candidates": num_candidates}
        self.digest = settings_digest("saliency", SALIENCY_VERSION, settings)
        self._cfg = cfg
        self._num_candidates = num_candidates

    def prompt(self, wanted: Wanted) -> str:
        """Empty: the picture alone decides."""
        return ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """Candidates of every picture, best first; words are not read.

        Returns:
            An empty list where the picture is uniform or too narrow to judge.
        """
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: Image.Image) -> list[Candidate]:
        small = _shrink(image, self._cfg.side_px)
        if min(small.size) < _MIN_SIDE_PX:
            return []
        product = foreground_map(np.asarray(small), self._cfg.border_frac)
        found = propose_boxes(product)
        factor_x, factor_y = image.width / small.width, image.height / small.height
        candidates = []
        for box, score in found[: self._num_candidates]:
            inside = clip_box(scale_box(box, factor_x, factor_y), image.size)
            if inside is not None:
                candidates.append(Candidate(inside, score))
        return candidates


def _shrink(image: Image.Image, side_px: int) -> Image.Image:
    """`image` as RGB with as many pixels as a square of `side_px`; a smaller picture keeps its size.

    By area, so that a banner keeps enough of its height; but its longer side stays within four times `side_px`.
    """
    factor = min(side_px / math.sqrt(image.width * image.height), 4.0 * side_px / max(image.size), 1.0)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    rgb = image.convert("RGB")
    return rgb if size == image.size else rgb.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
