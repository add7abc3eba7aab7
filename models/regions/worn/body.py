"""Which pixels of a figure are skin or hair, where its head ends, and which are cloth.

Legend: H, W the working picture's height and width; maps are (H, W).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.regions.proposals import grow
from models.regions.worn.colours import colour_bins, colour_density
from models.regions.worn.figure import Figure, skin_likeness

_ROUNDS = 2
"""On photographs one round costs 0.004 of mean IoU, a third brings less than 0.001."""
_HUE_STEP = 5.0
"""Side of the cells in a and b that a person's hue is voted in, Lab units."""
_SKIN_SPREAD = 9.0
"""Lab distance in a and b, one standard deviation, that shading moves a person's skin."""


@dataclass(frozen=True)
class Body:
    """A person's parts as maps."""

    bare: np.ndarray
    """(H, W) in 0..1: how likely the pixel is skin or hair; 0 outside the figure."""
    skin: np.ndarray
    """(H, W) in 0..1: the same for skin alone."""
    looks: np.ndarray
    """(H, W) in 0..1: how much the colour alone looks like this person's skin."""
    cloth: np.ndarray
    """(H, W) bool: figure that is neither, thin lines left out."""
    thin: np.ndarray
    """(H, W) bool: thin lines that may be cloth, such as straps, and the rest of it."""
    shoulder: int | None
    """Row where the shoulders begin; None where the head is not in the picture."""
    head_px: float
    """Height of head and neck; a guess from the figure's height where the head is not in the picture."""


def find_shoulder(figure: Figure) -> int | None:
    """Row where a narrow head or neck widens into shoulders; None where the figure does not widen so."""
    widths = figure.mask.sum(axis=1).astype(np.float64)[figure.top : figure.bottom]
    height = len(widths)
    for row in range(max(round(0.06 * height), 5), round(0.45 * height)):
        head = float(np.median(widths[2:row]))
        if widths[row] >= 1.45 * head and widths[row : row + max(height // 10, 2)].min() >= 1.4 * head:
            return figure.top + row
    return None


def skin_of(figure: Figure, shoulder: int | None) -> np.ndarray:
    """How much each pixel looks like this person's skin: human skin, of the hue that is commonest where skin is bare.

    Args:
        figure: From `find_figure`.
        shoulder: From `find_shoulder`.

    Returns:
        (H, W) in 0..1.
    """
    likeness = np.where(figure.mask, skin_likeness(figure.lab), 0.0)
    sure = figure.inner & (likeness > 0.5)
    if not sure.any():
        return likeness
    weight = _bareness(figure, shoulder, likeness, sure)[sure]
    chroma = figure.lab[..., 1:]
    cells = np.clip(((chroma[sure] + 10.0) / _HUE_STEP).astype(np.int64), 0, 15)
    votes = np.bincount(cells @ np.array([16, 1]), weight, 256).reshape(16, 16)
    best = np.unravel_index(int(np.argmax(ndimage.gaussian_filter(votes, 1.0))), votes.shape)
    near = (np.abs(cells - np.array(best)) <= 1).all(axis=1)
    hue = np.average(chroma[sure][near], axis=0, weights=weight[near] + 1e-9)
    apart = np.sum((chroma - hue) ** 2, axis=2)
    return likeness * np.exp(-apart / (2.0 * _SKIN_SPREAD**2))


def _bareness(figure: Figure, shoulder: int | None, likeness: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """How much a skin-like pixel says of the person's skin by where it is: (H, W), of any scale.

    In the brighter half of the head, hair being mostly the darker, and together three times what all the rest says;
    at the edge of a figure that is cut above; else more at the sides, where arms are, than in the middle.
    """
    rows = np.arange(likeness.shape[0])[:, None]
    cols = np.arange(likeness.shape[1])[None, :]
    across = np.flatnonzero(figure.mask.any(axis=0))
    off_axis = np.abs(cols - (across[0] + across[-1]) / 2.0) / max((across[-1] - across[0]) / 2.0, 1.0)
    weight = likeness * np.where(off_axis > 0.6, 1.0, 0.2)
    if shoulder is None:
        at_cut = rows < figure.top + 0.06 * (figure.bottom - figure.top)
        return np.where(at_cut, 3.0 * likeness, weight) if figure.is_cut_above else weight
    head = sure & (rows < shoulder - 0.15 * (shoulder - figure.top))
    if not head.any():
        return weight
    lightness = figure.lab[..., 0]
    bright = head & (lightness >= np.median(lightness[head]))
    elsewhere = float(weight[sure & ~head].sum())
    weight = np.where(head, 0.1, weight * 0.3 * bright.sum() / max(elsewhere, 1.0))
    weight[bright] = 1.0
    return weight


def read_body(figure: Figure, has_neck: bool) -> Body:
    """Part skin and hair from cloth by colour models that start from a prior of skin and from the head.

    Three histograms, of skin, hair and cloth, and the pixels' shares in them are found in turns, as in expectation
    maximization with two rounds; hair is a class of its own so that dark hair does not take a dark shirt with it.

    Args:
        figure: From `find_figure`.
        has_neck: What is wanted is worn on the trunk, so that a figure that is cut above is cut at head or neck; else
            such a figure is taken to be cut below them.
    """
    height = figure.bottom - figure.top
    shoulder = find_shoulder(figure) if has_neck or not figure.is_cut_above else None
    head_px = float(shoulder - figure.top) if shoulder is not None else 0.2 * height
    if shoulder is not None and figure.is_cut_above:
        # Of a head that is cut the height tells too little; shoulders are about 1.4 heads with their necks wide.
        head_px = max(head_px, float(figure.mask[shoulder : shoulder + 3].sum(axis=1).mean()) / 1.4)
    mask, inner = figure.mask, figure.inner
    bins = colour_bins(figure.lab)
    looks = skin_of(figure, shoulder)
    # Priors by layout: the head is skin or hair, hair may hang to the waist, elsewhere the hue of skin tells.
    skin_prior = 0.04 + 0.7 * looks
    hair_prior = np.zeros_like(looks)
    skin, cloth = looks, 1.0 - 0.9 * looks
    hair = np.zeros_like(looks)
    if shoulder is not None:
        below = (np.arange(mask.shape[0])[:, None] - shoulder) / head_px + np.zeros_like(looks)
        in_head = below < -0.25
        cloth = np.where(in_head, 0.0, np.where(below < 0.0, 0.3 * cloth, cloth))
        hair = np.where(in_head, 1.0 - 0.8 * looks, 0.0)
        hair_prior = np.where(in_head, 0.5, np.clip(0.4 - 0.38 * below, 0.01, 0.4))
        skin_prior = np.where(in_head, 0.45, skin_prior)
    cloth_prior = np.maximum(1.0 - skin_prior - hair_prior, 0.02)
    flat = bins[inner]
    for _ in range(_ROUNDS):
        parts = []
        for weight, prior in ((skin, skin_prior), (hair, hair_prior), (cloth, cloth_prior)):
            parts.append(prior * colour_density(flat, weight[inner])[bins] if weight.any() else np.zeros_like(looks))
        total = sum(parts) + 1e-12
        skin, hair, cloth = (np.where(mask, part / total, 0.0) for part in parts)
    bare = np.where(mask, ndimage.gaussian_filter(np.where(mask, skin + hair, 0.5), 0.6), 0.0)
    is_cloth = mask & (bare < 0.5)
    # Opening drops the rim, whose colours are mixed with the ground's, and seams of light on skin.
    core = ~grow(np.pad(~is_cloth, 1, mode="edge"))[1:-1, 1:-1]
    wide = grow(grow(core) & is_cloth) & is_cloth
    return Body(bare, skin, looks, wide, is_cloth & inner, shoulder, head_px)
