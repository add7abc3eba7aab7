from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Box
from models.regions.boxes import box_iou, clip_box, pad_box, scale_box, union_box

_SIDE = 24


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, y0 = draw(st.integers(0, _SIDE - 1)), draw(st.integers(0, _SIDE - 1))
    return (float(x0), float(y0), float(draw(st.integers(x0 + 1, _SIDE))), float(draw(st.integers(y0 + 1, _SIDE))))


def _pixels(box: Box) -> np.ndarray:
    mask = np.zeros((_SIDE, _SIDE), dtype=bool)
    mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
    return mask


@given(boxes(), boxes())
def test_iou_counts_pixels(one: Box, other: Box) -> None:
    a, b = _pixels(one), _pixels(other)
    assert box_iou(one, other) == pytest.approx((a & b).sum() / (a | b).sum())
    assert box_iou(one, other) == box_iou(other, one)


@given(boxes(), boxes())
def test_union_is_the_smallest_box_around_both(one: Box, other: Box) -> None:
    rows, cols = np.nonzero(_pixels(one) | _pixels(other))
    assert union_box([one, other]) == (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)


@given(boxes(), st.floats(0, 40), st.floats(1, 60))
def test_padded_box_holds_the_box_and_stays_inside(box: Box, padding_px: float, min_side_px: float) -> None:
    x0, y0, x1, y1 = pad_box(box, padding_px, min_side_px, (_SIDE, _SIDE))
    assert 0 <= x0 <= box[0]
    assert 0 <= y0 <= box[1]
    assert box[2] <= x1 <= _SIDE
    assert box[3] <= y1 <= _SIDE
    for low, high in ((x0, x1), (y0, y1)):
        assert high - low >= min(min_side_px, _SIDE) - 1e-6


def test_padding_is_exact_away_from_the_edges() -> None:
    assert pad_box((10, 20, 30, 60), 5, 1, (100, 100)) == (5, 15, 35, 65)


def test_a_box_at_the_edge_grows_inwards() -> None:
    assert pad_box((0, 0, 4, 50), 0, 16, (100, 100)) == (0, 0, 16, 50)
    assert pad_box((96, 0, 100, 50), 0, 16, (100, 100)) == (84, 0, 100, 50)


def test_clipping() -> None:
    assert clip_box((-5, 2, 8, 30), (10, 20)) == (0, 2, 8, 20)
    assert clip_box((10, 0, 14, 5), (10, 20)) is None
    assert clip_box((float("nan"), 0, 5, 5), (10, 20)) is None
    assert scale_box((1, 2, 3, 4), 2, 0.5) == (2, 1, 6, 2)
