"""Where one garment ends and the next begins: cloth parted by rows of bare skin, by colour, and at the shoes.

Legend: H, W the working picture's height and width; maps are (H, W) bool; rows count from the top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.regions.proposals import grow
from models.regions.worn.body import Body
from models.regions.worn.colours import colour_bins, colour_density
from models.regions.worn.figure import EIGHT, Figure

_MIN_GAP_HEADS = 0.1
"""Rows of bare skin that part two garments, in heights of the head."""
_BARE_SHARE = 0.25
"""A row of the trunk with less cloth than this is bare."""
_LONGEST_TOP_HEADS = 3.3
"""A top ends above this, counted from the shoulders."""
_ALIKE_LAB = 8.0
_HEM_HEADS, _HEM_SPREAD_HEADS = 2.15, 0.6
"""Where hems of tops are, in heights of head and neck below the shoulders, and how far they stray."""
_HEM_WEIGHT = 0.1
"""What a cut at the hips gains over one far from them, nats: decides only where colours hardly differ."""
_SAME_CLOTH = 0.6
"""Overlap of colours over which bare rows are an arm before one garment, given that another begins below it."""
_SECOND_CUT_TRUST = 0.5
_MAX_LOG_RATIO = 4.0


@dataclass(frozen=True)
class Cut:
    """Cloth above and below a waist."""

    upper: np.ndarray
    lower: np.ndarray
    trust: float
    """0 to 1: how clearly the two differ; 1 for bare skin between them."""


def cut_at_waist(figure: Figure, body: Body) -> Cut:
    """Part the cloth of a person at the waist or hem.

    Args:
        figure: Of a person whose top is in the picture.
        body: Of the same.
    """
    cloth, head_px = body.cloth, body.head_px
    rows = np.arange(cloth.shape[0])
    start = body.shoulder if body.shoulder is not None else figure.top
    first = start + round((0.55 if body.shoulder is not None else 0.15) * head_px)
    last = min(figure.bottom - 2, start + round(_LONGEST_TOP_HEADS * head_px))
    trunk = trunk_of(figure, body)
    inside = cloth & trunk
    bare = inside.sum(axis=1) < _BARE_SHARE * np.maximum((trunk & figure.mask).sum(axis=1), 1)
    gap = _longest_run(bare, first, last)
    bins = colour_bins(figure.lab)
    reach = min(last + round(head_px), figure.bottom)
    spans = (start + round(0.1 * head_px), first, last, reach)
    if gap is not None and gap[1] - gap[0] >= _MIN_GAP_HEADS * head_px:
        above = rows[:, None] < (gap[0] + gap[1]) // 2
        around = round(0.4 * head_px)
        one = inside & (rows[:, None] >= gap[0] - around) & (rows[:, None] < gap[0])
        two = inside & (rows[:, None] >= gap[1]) & (rows[:, None] < gap[1] + around)
        row, trust = last, 0.0
        if _overlap(bins, one, two) > _SAME_CLOTH:
            row, trust = _best_row(figure, inside, (gap[1], gap[1] + 2, last, reach), start, head_px)
        ends = int(np.flatnonzero(inside[:reach].any(axis=1))[-1])
        # A hem's mixed colours look like one row of another garment.
        if trust < _SECOND_CUT_TRUST or row > ends - round(0.2 * head_px):
            return Cut(cloth & above, cloth & ~above, 1.0)
    else:
        row, trust = _best_row(figure, inside, spans, start, head_px)
    above = cloth & (rows[:, None] < row - 2) & (rows[:, None] >= start)
    below = inside & (rows[:, None] > row + 2) & (rows[:, None] <= row + round(0.9 * head_px))
    ratio = _log_ratio(bins, above, below, cloth) + np.clip((row - rows)[:, None] / (0.08 * head_px), -3.0, 3.0)
    # Shoes in the colour of a shirt are no shirt: what belongs above begins above.
    labels, _ = ndimage.label(cloth & (ratio > 0.0), EIGHT)
    begun = np.unique(labels[:row])
    upper = np.isin(labels, begun[begun > 0])
    return Cut(upper, cloth & ~upper, trust)


def trunk_of(figure: Figure, body: Body) -> np.ndarray:
    """Columns around the figure's middle, without arms: (H, W)."""
    start = body.shoulder if body.shoulder is not None else figure.top
    weights = figure.mask[start : figure.bottom].sum(axis=0)
    cols = np.arange(figure.mask.shape[1])
    axis = float((weights * cols).sum() / max(weights.sum(), 1))
    return np.broadcast_to(np.abs(cols - axis) <= 0.42 * body.head_px, figure.mask.shape)


def _longest_run(flags: np.ndarray, first: int, last: int) -> tuple[int, int] | None:
    """Longest run of rows set within [first, last) that ends before `last`: what is bare to the end parts nothing."""
    labels, _ = ndimage.label(flags[first:last])
    runs = [(first + part[0].start, first + part[0].stop) for part in ndimage.find_objects(labels)]
    runs = [run for run in runs if run[1] < last]
    return max(runs, key=lambda run: run[1] - run[0], default=None)


def _best_row(
    figure: Figure,
    inside: np.ndarray,
    spans: tuple[int, int, int, int],
    shoulder: int,
    head_px: float,
) -> tuple[int, float]:
    """Row that best parts the colours above from those below: the largest information gain, like colours pooled.

    Args:
        figure: Whose colours.
        inside: Cloth of the trunk.
        spans: Row where counting starts, first and last row tried, row where counting ends.
        shoulder: Row of the shoulders.
        head_px: Height of the head: hems are sought about the hips, unless the colours say otherwise.

    Returns:
        The row and the gain's share of what a perfect split would give.
    """
    start, first, last, reach = spans
    counted = inside.copy()
    counted[:start] = False
    counted[reach:] = False
    if not counted.any() or last <= first:
        return last, 0.0
    values, index = np.unique(colour_bins(figure.lab)[counted], return_inverse=True)
    size = np.bincount(index, minlength=len(values))
    centres = np.stack([np.bincount(index, figure.lab[..., c][counted]) / size for c in range(3)], axis=1)
    centres[:, 0] *= 0.7
    gap = ((centres[:, None] - centres[None]) ** 2).sum(axis=2)
    alike = np.exp(-gap / (2.0 * _ALIKE_LAB**2))
    table = np.zeros((inside.shape[0], len(values)))
    np.add.at(table, (np.nonzero(counted)[0], index), 1.0)
    above = np.cumsum(table @ (alike / alike.sum(axis=1, keepdims=True)), axis=0)
    one = above[first - 1 : last - 1]
    two = above[-1] - one
    share = one.sum(axis=1) / above[-1].sum()
    gain = _entropy(above[-1:]) - share * _entropy(one) - (1.0 - share) * _entropy(two)
    most = -share * np.log(np.maximum(share, 1e-9)) - (1.0 - share) * np.log(np.maximum(1.0 - share, 1e-9))
    hips = (np.arange(first, last) - shoulder) / head_px - _HEM_HEADS
    merit = gain + _HEM_WEIGHT * np.exp(-((hips / _HEM_SPREAD_HEADS) ** 2))
    merit[(one.sum(axis=1) < 8) | (two.sum(axis=1) < 8)] = -1.0
    best = int(np.argmax(merit))
    return first + best, float(np.clip(gain[best] / max(most[best], 1e-9), 0.0, 1.0)) if merit[best] > -1.0 else 0.0


def _overlap(bins: np.ndarray, one: np.ndarray, two: np.ndarray) -> float:
    """Bhattacharyya coefficient of the colours of two regions, 0 to 1; 0 where one is empty."""
    if not one.any() or not two.any():
        return 0.0
    first, second = colour_density(bins[one]), colour_density(bins[two])
    return float(np.sqrt(first * second).sum() / np.sqrt(first.sum() * second.sum()))


def _entropy(counts: np.ndarray) -> np.ndarray:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
    return -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1)


def _log_ratio(bins: np.ndarray, one: np.ndarray, two: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Log likelihood ratio of every pixel's colour under two regions, smoothed inside `where`: (H, W)."""
    ratio = np.log(colour_density(bins[one]) / colour_density(bins[two]))
    ratio = np.clip(ratio, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    return ndimage.gaussian_filter(np.where(where, ratio[bins], 0.0), 0.8)


def part_shoes(figure: Figure, lower: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Part what is worn on the legs from shoes.

    Args:
        figure: Whose feet may be in the picture.
        lower: Cloth below the waist.

    Returns:
        The garment and the shoes; the shoes are empty where the picture ends above the feet.
    """
    nothing = np.zeros_like(lower)
    wide = ~grow(np.pad(~lower, 1, mode="edge"))[1:-1, 1:-1]
    labels, count = ndimage.label(wide, EIGHT)
    if count == 0:
        return lower, nothing
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    parts = ndimage.find_objects(labels)
    main_rows, main_cols = parts[int(np.argmax(sizes))]
    kept, shoes = np.zeros(count + 1, dtype=bool), np.zeros(count + 1, dtype=bool)
    height = figure.bottom - figure.top
    for number, (rows, cols) in enumerate(parts, start=1):
        begins_high = rows.start < (main_rows.start + main_rows.stop) / 2.0
        beside = min(cols.stop, main_cols.stop) - max(cols.start, main_cols.start) < 0.6 * (cols.stop - cols.start)
        kept[number] = sizes[number - 1] >= 0.04 * sizes.max() and begins_high and not beside
        shoes[number] = not begins_high and rows.stop > figure.bottom - 0.25 * height and not figure.is_cut_below
    garment = grow(kept[labels]) & lower
    found = grow(shoes[labels]) & lower
    reach = np.flatnonzero(garment.any(axis=1))
    if figure.is_cut_below or reach[-1] < figure.bottom - 0.04 * height:
        return garment, found
    # Long legs that no bare skin parts from the shoes: by colour, and by where ankles are.
    rows = np.arange(lower.shape[0])[:, None]
    leg = garment & (rows < reach[0] + 0.75 * (reach[-1] - reach[0]))
    foot = figure.mask & (rows > reach[-1] - 0.06 * height)
    ankle = figure.bottom - 0.09 * height
    ratio = _log_ratio(colour_bins(figure.lab), leg, foot, garment)
    ratio += np.clip((ankle - rows) / (0.02 * height), -3.5, 3.5)
    return garment & (ratio > 0.0), found | (garment & (ratio <= 0.0))
