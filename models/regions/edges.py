"""From a detector's box to the product's own edges: a colour model of what lies inside and outside of it.

A small detector knows which thing is the product, and its edges to a few per cent. Pixels know them better: what the
box holds and what surrounds it are two histograms, each pixel goes to the likelier one, and an edge moves to where the
product ends, though never far. Where the colours say nothing, the detector's edge stays.

Source: one GrabCut round (Rother et al. 2004) with histograms in the place of mixtures and a blur in the place of the
graph cut, which costs four times as much and gains under one point of IoU; limits and constants were chosen on sixty
photographs of clothes that no figure is told of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from catalog import Box
from models.regions.boxes import clip_box
from models.regions.config import EdgesConfig
from models.regions.detector import Candidate, Candidates, RegionDetector, note_of, settings_digest
from models.regions.saliency_maps import lab_pixels
from models.regions.wanted import Wanted

EDGES_VERSION = 2
"""Raise it whenever a box changes for the same parameters: the cache of candidates hangs on it."""

_ROUNDS = 2
_MARGIN_FRAC = 0.12
"""How far around the box is looked at, share of its sides."""
_SLOPE = 2.0
"""Belief in the product grows from a half at the box's edge to its most at a quarter of the half side."""
_MOST_BELIEF = 0.9
_OUTSIDE_FADE = 0.3
"""Belief fades to none at this depth outside the box, share of its half sides. Outwards an edge so moves by half of
that at most: what surrounds a product is more often taken for it than left out."""
_INSIDE_DEPTH = 0.15
"""Parts that reach this depth, share of the half sides, belong to the product."""
_SPECK_FRAC = 0.03
_THIN_FRAC = 0.015
"""A row or column with a smaller share of product pixels is a thread or noise."""
_BINS = np.array((18, 30, 30))
_BIN_WIDTHS = np.array((6.0, 7.0, 7.0))
_LAB_OFFSET = np.array((0.0, 100.0, 100.0))
_MIN_SIDE_PX = 8
"""A box narrower than this in the working picture is left alone."""
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


class EdgeDetector:
    """Another detector's candidates with their edges moved to the product's.

    Args:
        base: Finds the candidates; their order and scores stay.
        cfg: The edges section.
    """

    def __init__(self, base: RegionDetector, cfg: EdgesConfig) -> None:
        self._base, self._cfg = base, cfg
        settings = cfg.model_dump(mode="json", exclude={"enabled"}) | {"base": base.digest}
        self.digest = settings_digest("edges", EDGES_VERSION, settings)

    def prompt(self, wanted: Wanted) -> str:
        """The base's: edges follow from the picture alone."""
        return self._base.prompt(wanted)

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """The base's candidates; those far less sure than the best keep their edges, since none will choose them."""
        return [
            Candidates(self._snapped(image, candidates), note_of(candidates))
            for image, candidates in zip(images, self._base.detect(images, wanted), strict=True)
        ]

    def _snapped(self, image: Image.Image, candidates: list[Candidate]) -> list[Candidate]:
        least = self._cfg.min_score_frac * max((one.score for one in candidates), default=0.0)
        return [
            Candidate(snap_box(image, one.box, self._cfg), one.score, one.label, one.agreement)
            if one.score >= least
            else one
            for one in candidates
        ]


def snap_box(image: Image.Image, box: Box, cfg: EdgesConfig) -> Box:
    """Move the edges of `box` to where the product's colours end.

    Args:
        image: The whole photograph.
        box: Pixels of `image`, inside it.
        cfg: How far an edge may move, and how large the working picture is.

    Returns:
        A box inside the picture; an edge without a better place in reach is where it was.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    around = (
        max(math.floor(box[0] - _MARGIN_FRAC * width), 0),
        max(math.floor(box[1] - _MARGIN_FRAC * height), 0),
        min(math.ceil(box[2] + _MARGIN_FRAC * width), image.width),
        min(math.ceil(box[3] + _MARGIN_FRAC * height), image.height),
    )
    span = (around[2] - around[0], around[3] - around[1])
    factor = min(cfg.side_px / max(span), 1.0)
    if min(width, height) * factor < _MIN_SIDE_PX:
        return box
    size = (round(span[0] * factor), round(span[1] * factor))
    # Cut first: converting a whole photograph costs more than all the rest.
    small = image.crop(around).convert("RGB").resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    scale = (size[0] / span[0], size[1] / span[1])
    depth = _depth((size[1], size[0]), [(value - around[i % 2]) * scale[i % 2] for i, value in enumerate(box)])
    mask = _product_mask(np.asarray(small), depth)
    across = np.flatnonzero(mask.sum(axis=0) >= max(_THIN_FRAC * size[1], 1.5))
    down = np.flatnonzero(mask.sum(axis=1) >= max(_THIN_FRAC * size[0], 1.5))
    if not len(across) or not len(down):
        return box
    found = (across[0], down[0], across[-1] + 1, down[-1] + 1)
    edges = [
        _edge(old, float(new) / scale[i % 2] + around[i % 2], cfg.reach_frac * (width, height)[i % 2])
        for i, (old, new) in enumerate(zip(box, found, strict=True))
    ]
    # The scale back may end a rounding error outside of the picture.
    return clip_box((edges[0], edges[1], edges[2], edges[3]), image.size) or box


def _edge(old: float, new: float, reach_px: float) -> float:
    return new if abs(new - old) <= reach_px else old


def _depth(shape: tuple[int, int], box: Sequence[float]) -> np.ndarray:
    """(H, W): how deep inside the box each pixel lies, 1 in its middle, 0 on its edge, negative outside."""
    x, y = np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5
    across = 2.0 * np.minimum(x - box[0], box[2] - x) / (box[2] - box[0])
    down = 2.0 * np.minimum(y - box[1], box[3] - y) / (box[3] - box[1])
    return np.minimum(across[None, :], down[:, None])


def _product_mask(rgb: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose colour is likelier inside the box than around it, in parts that reach well into it.

    Args:
        rgb: (H, W, 3) uint8.
        depth: (H, W), see `_depth`.
    """
    lab = ndimage.gaussian_filter(lab_pixels(rgb), (0.7, 0.7, 0.0))
    bins = np.clip(((lab + _LAB_OFFSET) / _BIN_WIDTHS).astype(np.int64), 0, _BINS - 1)
    key = ((bins[..., 0] * _BINS[1] + bins[..., 1]) * _BINS[2] + bins[..., 2]).ravel()
    fade = np.clip(depth / _OUTSIDE_FADE + 1.0, 0.0, 1.0)
    belief = np.where(fade > 0.0, np.clip(0.5 + _SLOPE * depth, 0.0, _MOST_BELIEF), 0.0)
    for _ in range(_ROUNDS):
        likely = _likely_product(key, belief, np.where(depth <= 0.0, 1.0, 1.0 - belief))
        belief = ndimage.gaussian_filter(likely, 0.7) * fade
    labels, count = ndimage.label(belief > 0.5, _EIGHT_NEIGHBOURS)
    if count == 0:
        return np.zeros(depth.shape, dtype=bool)
    inside = np.bincount(labels[depth > _INSIDE_DEPTH], minlength=count + 1)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    kept = (inside > 0) & (sizes >= _SPECK_FRAC * sizes[1:].max())
    kept[0] = False
    return np.asarray(kept[labels])


def _likely_product(key: np.ndarray, product: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """(H, W) in 0..1: the share of each pixel's colour that `product` has of both weights, histograms blurred."""
    shape = tuple(int(value) for value in _BINS)
    weights = [np.bincount(key, one.ravel(), math.prod(shape)).reshape(shape) for one in (product, ground)]
    blurred = [ndimage.gaussian_filter(one, 0.8) for one in weights]
    return (blurred[0] / (blurred[0] + blurred[1] + 1e-9)).ravel()[key].reshape(product.shape)
