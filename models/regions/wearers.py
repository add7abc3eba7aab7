"""A garment goes before the person who wears it."""

from __future__ import annotations

from collections.abc import Sequence

from catalog import Box
from models.regions.boxes import box_area, overlap_area
from models.regions.detector import GARMENT, Candidate

_SAME_THING_FRAC = 0.5
"""A box that shares more than this part of the smaller one's area is of the wearer, or a piece of the garment."""


def without_wearers(candidates: Sequence[Candidate]) -> list[Candidate]:
    """`candidates` without those that overlap a garment: its wearer, parts of either. Others stay, in their order."""
    garments = [candidate.box for candidate in candidates if candidate.label == GARMENT]
    return [
        candidate
        for candidate in candidates
        if candidate.label == GARMENT or all(_shared(candidate.box, box) <= _SAME_THING_FRAC for box in garments)
    ]


def _shared(one: Box, other: Box) -> float:
    """Area in common, as a share of the smaller box's."""
    return overlap_area(one, other) / max(min(box_area(one), box_area(other)), 1e-9)
