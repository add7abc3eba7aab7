"""From a person before a plain ground to the one garment that is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from catalog import Box
from models.regions.config import GarmentKind
from models.regions.worn.body import Body, read_body
from models.regions.worn.figure import EIGHT, Figure, find_figure, skin_likeness
from models.regions.worn.split import cut_at_waist, part_shoes, trunk_of

_MIN_PART_FRAC = 0.04
"""Parts of a garment smaller than this share of its largest are specks."""
_MIN_AREA_FRAC = 0.06
"""A garment with a smaller share of the figure's pixels was not found; shoes and hats are smaller."""
_MIN_SMALL_AREA_FRAC = 0.01
_MIN_WIDTH_FRAC = 0.35
"""A narrower part of the figure, arms akimbo included, is a drawstring or a print."""
_MAX_CUT_FRAC = 0.15
"""Share of the garment's rows that may lie at one side of the picture."""
_MIN_COL_FRAC = 0.03
_MIN_SKIN_FRAC = 0.01
"""A person seen from behind in a hood and long sleeves shows little more than a neck or a hand."""
_MIN_HEADLESS_SKIN_FRAC = 0.03
_MIN_SKIN_AT_CUT_FRAC = 0.1
_MAX_BARE_FRAC = 0.9
_MIN_HEAD_ASPECT = 0.8
"""Head and neck, height over width; 1.1 to 1.8 in people."""
_MIN_HUMAN_HEAD_FRAC = 0.35
"""Share of a head that has the hue of skin, brown and fair hair among it."""


@dataclass(frozen=True)
class Garment:
    """The titled garment on a person."""

    box: Box
    """Pixels of the working picture."""
    person: Box
    """The whole figure."""
    trust: float
    """0 to 1."""


def find_garment(rgb: np.ndarray, kind: GarmentKind) -> Garment | None:
    """Find the garment of `kind` that a person wears.

    Args:
        rgb: (H, W, 3) uint8, the working picture.
        kind: Where on the body it is worn.

    Returns:
        None where the ground is not plain, where nothing tells a person, or where the garment is not found.
    """
    figure = find_figure(rgb)
    if figure is None:
        return None
    body = read_body(figure, kind in ("upper", "full", "head"))
    if not is_person(figure, body):
        return None
    mask, trust = _mask_of(figure, body, kind)
    mask = _without_specks(mask)
    if not mask.any() or _is_close_up(figure, body, mask, kind):
        return None
    box, person = _extent(mask, _MIN_COL_FRAC), _extent(figure.mask)
    if kind in ("feet", "head"):
        is_found = mask.sum() >= _MIN_SMALL_AREA_FRAC * figure.mask.sum()
    else:
        is_wide = box[2] - box[0] >= _MIN_WIDTH_FRAC * (person[2] - person[0])
        is_found = is_wide and mask.sum() >= _MIN_AREA_FRAC * figure.mask.sum()
    return Garment(box, person, trust) if is_found else None


def is_person(figure: Figure, body: Body) -> bool:
    """Whether shape and skin say that the figure is a person.

    A person has a head that is longer than wide and mostly of the colours of skin and hair, or is cut by the picture's
    upper edge; and shows skin, more of it and at the cut where there is no head to tell.
    """
    bare = figure.inner & (body.bare > 0.5)
    skin = figure.inner & (body.skin > 0.5) & (body.looks > 0.3)
    area = float(figure.inner.sum())
    if bare.sum() > _MAX_BARE_FRAC * area:
        return False
    if body.shoulder is not None:
        return bool(skin.sum() >= _MIN_SKIN_FRAC * area) and _has_head(figure, body.shoulder)
    if not figure.is_cut_above:
        return False
    first = slice(figure.top, figure.top + round(0.12 * (figure.bottom - figure.top)))
    at_cut = skin[first].sum() / max(figure.inner[first].sum(), 1)
    return bool(skin.sum() >= _MIN_HEADLESS_SKIN_FRAC * area and at_cut >= _MIN_SKIN_AT_CUT_FRAC)


def _has_head(figure: Figure, shoulder: int) -> bool:
    """Whether what stands above the shoulders is a head, or a part of one, and no hood, hanger or lid."""
    height = shoulder - figure.top
    above = slice(figure.top, shoulder - round(0.15 * height))
    inner = figure.inner[above]
    human = inner & (skin_likeness(figure.lab[above]) > 0.5)
    width = float(np.median(figure.mask[figure.top : shoulder].sum(axis=1)))
    is_long = figure.is_cut_above or height >= _MIN_HEAD_ASPECT * width
    return is_long and bool(human.sum() >= _MIN_HUMAN_HEAD_FRAC * max(inner.sum(), 1))


def _is_close_up(figure: Figure, body: Body, mask: np.ndarray, kind: GarmentKind) -> bool:
    """Whether the picture shows a piece of the garment, so that a box inside it would cut it further.

    So it is where the garment runs along a side of the picture, and where what is worn on the trunk has no shoulders
    above it or the person is cut at a side.
    """
    if _share_at_sides(mask) > _MAX_CUT_FRAC:
        return True
    return kind in ("upper", "full") and (body.shoulder is None or _share_at_sides(figure.mask) > _MAX_CUT_FRAC)


def _share_at_sides(mask: np.ndarray) -> float:
    """Share of the mask's rows that reach the picture's left edge, or its right one if there are more of those."""
    return float(max(mask[:, 0].sum(), mask[:, -1].sum()) / max(mask.any(axis=1).sum(), 1))


def _mask_of(figure: Figure, body: Body, kind: GarmentKind) -> tuple[np.ndarray, float]:
    """The garment's pixels (H, W) bool and the trust in them."""
    rows = np.arange(figure.mask.shape[0])[:, None]
    has_head = body.shoulder is not None
    if kind == "head":
        return _hat(figure, body), 0.3
    if kind == "upper":
        cut = cut_at_waist(figure, body)
        return _with_straps(cut.upper, body), cut.trust
    if kind == "full":
        garment, _ = part_shoes(figure, body.cloth)
        return _with_straps(garment, body), 0.7
    below, trust = body.cloth, 1.0
    if has_head or _begins_clothed(figure, body):
        cut = cut_at_waist(figure, body)
        below, trust = cut.lower, cut.trust
    garment, shoes = part_shoes(figure, below)
    if kind == "feet":
        return shoes, 0.6
    return garment & (rows >= _waist(figure, body, garment)), trust


def _begins_clothed(figure: Figure, body: Body) -> bool:
    """Whether the trunk's first rows are cloth in a figure whose head is not in the picture: a shirt's hem."""
    first = slice(figure.top, figure.top + max(round(0.04 * (figure.bottom - figure.top)), 2))
    trunk = trunk_of(figure, body)[first] & figure.mask[first]
    return float((trunk & body.cloth[first]).sum()) > 0.6 * max(float(trunk.sum()), 1.0)


def _waist(figure: Figure, body: Body, garment: np.ndarray) -> int:
    """Row that a lower garment begins at, a slanted waistband allowed for: sleeves that touch it begin higher."""
    trunk = trunk_of(figure, body) & figure.mask
    share = (garment & trunk).sum(axis=1) / np.maximum(trunk.sum(axis=1), 1)
    first = np.flatnonzero(share > 0.35)
    return int(first[0]) - round(0.03 * (figure.bottom - figure.top)) if len(first) else 0


def _hat(figure: Figure, body: Body) -> np.ndarray:
    """What sits on the head: the figure's rows above the face. Hair and hat are not told apart."""
    if body.shoulder is None:
        return np.zeros_like(figure.mask)
    share = (body.skin > 0.5).sum(axis=1) / np.maximum(figure.mask.sum(axis=1), 1)
    face = np.flatnonzero(share[figure.top : body.shoulder] > 0.4)
    if len(face) == 0:
        return np.zeros_like(figure.mask)
    return figure.mask & (np.arange(len(share))[:, None] < figure.top + face[0])


def _with_straps(mask: np.ndarray, body: Body) -> np.ndarray:
    """`mask` with the thin lines of cloth joined to its upper edge."""
    rows = np.arange(mask.shape[0])[:, None]
    if body.shoulder is None or not mask.any():
        return mask
    top = int(np.flatnonzero(mask.any(axis=1))[0])
    reach = (rows >= body.shoulder - 0.2 * body.head_px) & (rows < top + 0.1 * body.head_px)
    allowed = mask | (body.thin & reach)
    labels, _ = ndimage.label(allowed, EIGHT)
    return allowed & np.isin(labels, np.unique(labels[mask]))


def _without_specks(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask, EIGHT)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes >= _MIN_PART_FRAC * sizes.max())[labels] & mask


def _extent(mask: np.ndarray, min_col_frac: float = 0.0) -> Box:
    """The box around a mask.

    Args:
        mask: (H, W) bool, not empty.
        min_col_frac: Outer columns with fewer pixels than this share of the mask's rows are left out: an arm's rim is
            thin, a sleeve is not. Rows are not trimmed so: straps are thin.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    counts = mask.sum(axis=0)
    cols = np.flatnonzero(counts >= max(min_col_frac * len(rows), 1))
    return (float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1))
