"""The detector without weights: what differs from the border and does not belong to it is the product.

Three cues on a small picture: distance to the border's colours, geodesic distance to the border, and colour models
of what the first two call product and ground. numpy, Pillow and scipy only, and no random number.

Source: geodesic saliency with a border that is itself weighed (Wei et al. 2012; Zhu et al. 2014, boundary
connectivity), histogram posteriors as one GrabCut round. Deviations: colours are clustered by median cut instead of
superpixels, and the border's clusters are weighed by their share of the border.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from catalog import Box
from models.regions.boxes import box_area, box_iou, clip_box, scale_box, union_box
from models.regions.config import SaliencyConfig
from models.regions.detector import Candidate, settings_digest
from models.regions.saliency_maps import foreground_map

SALIENCY_VERSION = 1
"""Raise it whenever a box changes for the same parameters: the cache of candidates hangs on it."""

_MIN_SIDE_PX = 8
"""A working picture narrower than this holds no object that could be told from its border."""
_DUPLICATE_IOU = 0.8
"""Two candidates that overlap more are the same one."""


class SaliencyDetector:
    """Candidate boxes from contrast with the border."""

    uses_text = False

    def __init__(self, cfg: SaliencyConfig, num_candidates: int) -> None:
        settings = cfg.model_dump(mode="json") | {"num_candidates": num_candidates}
        self.digest = settings_digest("saliency", SALIENCY_VERSION, settings)
        self._cfg = cfg
        self._num_candidates = num_candidates

    def detect(self, images: Sequence[Image.Image], titles: Sequence[str | None]) -> list[list[Candidate]]:
        """Candidates of every picture, best first; titles are not read.

        Returns:
            An empty list where the picture is uniform or too narrow to judge.
        """
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: Image.Image) -> list[Candidate]:
        small = _shrink(image, self._cfg.side_px)
        if min(small.size) < _MIN_SIDE_PX:
            return []
        product = foreground_map(np.asarray(small), self._cfg.border_frac)
        found = _boxes(product)
        factor_x, factor_y = image.width / small.width, image.height / small.height
        candidates = []
        for box, score in found[: self._num_candidates]:
            inside = clip_box(scale_box(box, factor_x, factor_y), image.size)
            if inside is not None:
                candidates.append(Candidate(inside, score))
        return candidates


def _shrink(image: Image.Image, side_px: int) -> Image.Image:
    """`image` as RGB with a longer side of `side_px`; a smaller picture keeps its size."""
    factor = min(side_px / max(image.size), 1.0)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    rgb = image.convert("RGB")
    return rgb if size == image.size else rgb.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _boxes(product: np.ndarray) -> list[tuple[Box, float]]:
    """Boxes of a foreground map (H, W) in 0..1 with their scores, best first, duplicates dropped."""
    height, width = product.shape
    total = float(product.sum())
    if total <= 0.0:
        return []
    found: list[tuple[Box, float]] = []
    for level in (0.5, 0.3, 0.7):
        mask = ndimage.binary_opening(product >= level, np.ones((3, 3)), border_value=0)
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        if count == 0:
            continue
        sizes = np.bincount(labels.ravel())[1:]
        order = np.argsort(-sizes, kind="stable")[:4]
        slices = ndimage.find_objects(labels)
        parts: list[tuple[Box, int]] = []
        for index in order:
            if sizes[index] < 0.15 * sizes[order[0]] or sizes[index] < 0.003 * width * height:
                continue
            rows, cols = slices[index]
            parts.append(((float(cols.start), float(rows.start), float(cols.stop), float(rows.stop)), sizes[index]))
        boxes = [box for box, _ in parts]
        if len(parts) > 1:
            boxes.append(union_box(boxes))
        found += [(box, _score(product, box, total)) for box in boxes]
    found.sort(key=lambda pair: -pair[1])
    kept: list[tuple[Box, float]] = []
    for box, score in found:
        if all(box_iou(box, other) < _DUPLICATE_IOU for other, _ in kept):
            kept.append((box, score))
    return kept


def _score(product: np.ndarray, box: Box, total: float) -> float:
    """How much of the product map lies in the box, and how full of it the box is: their geometric mean."""
    x0, y0, x1, y1 = (int(value) for value in box)
    inside = float(product[y0:y1, x0:x1].sum())
    return float(np.clip(np.sqrt(inside / total * min(inside / box_area(box) * 1.25, 1.0)), 0.0, 1.0))
