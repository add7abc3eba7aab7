"""Squares back to their photographs: the same arithmetic as the letterbox and the crop, found out by looking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog import Photo
from models.inside.frames import Frame, cut_box, fitted_box
from models.pictures import crop_box, letterbox
from models.tokens import TokenType

sides = st.integers(min_value=3, max_value=90)


def _frame(size: tuple[int, int], region: tuple[int, int, int, int] | None = None) -> Frame:
    kind = TokenType.IMAGE if region is None else TokenType.CROP
    return Frame(Photo("p"), 0, kind, size, region or (0, 0, *size))


@given(width=sides, height=sides)
@settings(max_examples=40, deadline=None)
def test_the_fitted_box_is_where_the_letterbox_puts_the_picture(width: int, height: int) -> None:
    square = letterbox(Image.new("RGB", (width, height), (0, 0, 0)), 32)
    rows, columns = np.nonzero(square[..., 0] < 255)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found == fitted_box((width, height), 32)


@given(
    width=sides,
    height=sides,
    corners=st.tuples(*[st.floats(min_value=-20, max_value=110, allow_nan=False) for _ in range(4)]),
)
@settings(max_examples=60, deadline=None)
def test_the_cut_box_is_what_the_crop_takes(width: int, height: int, corners: tuple[float, ...]) -> None:
    x0, x1 = sorted(corners[:2])
    y0, y1 = sorted(corners[2:])
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    image = Image.fromarray(np.stack([columns, rows, rows], axis=-1).astype(np.uint8))
    cut = np.asarray(crop_box(image, (x0, y0, x1, y1)))
    found = (cut[..., 0].min(), cut[..., 1].min(), cut[..., 0].max() + 1, cut[..., 1].max() + 1)
    assert found == cut_box((width, height), (x0, y0, x1, y1))


def test_a_box_of_the_photograph_in_the_original_and_in_the_crop() -> None:
    # 100 x 50 px in a square of 32: scale 0.32, 16 rows, 8 of them white above.
    assert _frame((100, 50)).in_square((25, 0, 75, 50), 32) == pytest.approx((8, 8, 24, 24))
    # 40 x 20 px cut at (20, 10): scale 0.8, again 16 rows from 8 on.
    assert _frame((100, 50), (20, 10, 60, 30)).in_square((30, 15, 50, 25), 32) == pytest.approx((8, 12, 24, 20))


def test_the_cover_counts_shares_of_pixels_and_never_the_white_around() -> None:
    frame = _frame((100, 50))
    whole = frame.covered((0, 0, 100, 50), 32)
    assert whole.sum() == pytest.approx(32 * 16)
    assert whole[:8].sum() == 0.0
    assert whole[24:].sum() == 0.0
    # A quarter of a pixel's width: 100 / 32 / 4 px of the photograph.
    thin = frame.covered((0, 0, 100 / 128, 50), 32)
    assert thin[8:24, 0] == pytest.approx(0.25)
    assert thin[:, 1:].sum() == 0.0


def test_windows_side_by_side_cover_the_picture_once() -> None:
    frame = _frame((70, 90), (3, 11, 64, 80))
    tiles = [frame.covered((x, y, x + 9, y + 9), 32) for x in range(0, 70, 9) for y in range(0, 90, 9)]
    np.testing.assert_allclose(np.sum(tiles, axis=0), frame.covered((0, 0, 70, 90), 32), atol=1e-5)


@pytest.mark.parametrize("box", [(0, 0, 20, 10), (61, 0, 100, 50), (0, 31, 100, 50)])
def test_what_lies_beside_the_crop_covers_nothing_of_it(box: tuple[float, float, float, float]) -> None:
    assert _frame((100, 50), (20, 10, 60, 30)).covered(box, 32).sum() == 0.0
