"""Candidates that belong together: the two halves of a pair, and boxes around several things."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from catalog import Box
from models.regions.boxes import box_area, box_iou, overlap_area, union_box
from models.regions.config import PairConfig
from models.regions.detector import Candidate
from models.regions.wanted import Wanted

_WORD = re.compile(r"\w+")
_BESIDE_FRAC = 0.5
"""Halves lie level: they share this much of the shorter one's extent across the gap."""
_WITHIN_FRAC = 0.85
"""A box with this much of its area in another one lies within it."""
_SMALLER_FRAC = 0.8
"""A box within another of hardly larger area is the same thing found twice."""
_APART_IOU = 0.1
"""Things that overlap less are two."""


def pair_word(wanted: Wanted, cfg: PairConfig) -> str:
    """The word that says the product comes in pairs, the title's first, then the deepest category's; empty if none."""
    asked = {word.casefold() for word in cfg.words}
    for text in (wanted.title or "", *reversed(wanted.category)):
        for word in _WORD.findall(text.casefold()):
            if word in asked:
                return str(word)
    return ""


def are_halves(one: Candidate, other: Candidate, cfg: PairConfig) -> bool:
    """True where two candidates look like the halves of a pair: alike in size and score, beside each other.

    A product and what lies beside it are seldom alike in all of these, which is what keeps them apart.
    """
    if one.label != other.label or box_iou(one.box, other.box) > cfg.max_iou:
        return False
    if min(one.score, other.score) < cfg.min_score_ratio * max(one.score, other.score):
        return False
    known = [half.agreement for half in (one, other) if half.agreement is not None]
    if len(known) == 2 and abs(known[0] - known[1]) > cfg.max_agreement_gap:
        return False
    sides = [(box[2] - box[0], box[3] - box[1]) for box in (one.box, other.box)]
    if any(min(pair) < cfg.min_side_ratio * max(pair) for pair in zip(*sides, strict=True)):
        return False
    gaps = [max(one.box[axis], other.box[axis]) - min(one.box[axis + 2], other.box[axis + 2]) for axis in (0, 1)]
    return any(
        gaps[axis] <= cfg.max_gap_frac * (sides[0][axis] + sides[1][axis]) / 2.0
        and -gaps[1 - axis] >= _BESIDE_FRAC * min(sides[0][1 - axis], sides[1][1 - axis])
        for axis in (0, 1)
    )


def pairs(candidates: Sequence[Candidate], cfg: PairConfig) -> Iterator[Candidate]:
    """The box around every two halves among `candidates`; as sure, and as well agreed with, as the lesser half."""
    for one, other in combinations(candidates, 2):
        if are_halves(one, other, cfg):
            known = [half.agreement for half in (one, other) if half.agreement is not None]
            agreement = min(known) if len(known) == 2 else None
            yield Candidate(union_box((one.box, other.box)), min(one.score, other.score), one.label, agreement)


def group_share(candidate: Candidate, candidates: Sequence[Candidate], cfg: PairConfig) -> float:
    """How much a candidate looks like a box around several things, 0 to 1.

    Of any two candidates within it that lie apart and are no halves of a pair: the lower score over its own. A
    product's details are found, too, but with lower scores than the product.
    """
    share = 0.0
    for one, other in combinations(_within(candidate.box, candidates), 2):
        if box_iou(one.box, other.box) < _APART_IOU and not are_halves(one, other, cfg):
            lower = min(one.score, other.score)
            share = max(share, lower / candidate.score if lower < candidate.score else 1.0)
    return share


def _within(box: Box, candidates: Sequence[Candidate]) -> list[Candidate]:
    area = box_area(box)
    return [
        other
        for other in candidates
        if box_area(other.box) < _SMALLER_FRAC * area
        and overlap_area(other.box, box) >= _WITHIN_FRAC * box_area(other.box)
    ]
