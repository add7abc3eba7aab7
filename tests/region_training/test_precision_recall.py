from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Box
from models.region_training.precision_recall import precision_recall
from models.regions import Candidate, box_iou

_TRUE: Box = (0.0, 0.0, 10.0, 10.0)
_FAR: Box = (50.0, 50.0, 60.0, 60.0)


def test_everything_found_and_nothing_else_is_one() -> None:
    found = [[Candidate(_TRUE, 0.9)], [Candidate(_FAR, 0.3), Candidate(_TRUE, 0.8)]]
    one = precision_recall(found, [[_TRUE], [_TRUE, _FAR]])
    assert one.average_precision == pytest.approx(1.0)
    assert one.recall[-1] == 1.0


def test_by_hand() -> None:
    """Surest a hit, then a false one, then a hit, of three true boxes: 1/3 * 1 + 1/3 * 2/3."""
    found = [[Candidate(_TRUE, 0.9)], [Candidate(_FAR, 0.8), Candidate(_TRUE, 0.7)]]
    one = precision_recall(found, [[_TRUE], [_TRUE, (80.0, 80.0, 90.0, 90.0)]])
    assert one.precision == pytest.approx((1.0, 1 / 2, 2 / 3))
    assert one.recall == pytest.approx((1 / 3, 1 / 3, 2 / 3))
    assert one.average_precision == pytest.approx(1 / 3 + 2 / 9)


def test_a_second_box_on_the_same_product_is_false() -> None:
    one = precision_recall([[Candidate(_TRUE, 0.9), Candidate(_TRUE, 0.8)]], [[_TRUE]])
    assert one.precision == pytest.approx((1.0, 0.5))


def test_nothing_found_or_nothing_to_find_is_zero() -> None:
    assert precision_recall([[]], [[_TRUE]]).average_precision == 0.0
    assert precision_recall([[Candidate(_TRUE, 0.5)]], [[]]).average_precision == 0.0
    assert precision_recall([], []).average_precision == 0.0


def _naive(found: list[list[Candidate]], true: list[list[Box]]) -> float:
    """For every reached recall the best precision at any threshold that reaches it; thresholds one by one."""
    order = sorted((-one.score, p, i) for p, row in enumerate(found) for i, one in enumerate(row))
    total = sum(map(len, true))
    points = []
    for size in range(1, len(order) + 1):
        taken: set[tuple[int, int]] = set()
        hits = 0
        for _, picture, index in order[:size]:
            box = found[picture][index].box
            free = [t for t in range(len(true[picture])) if (picture, t) not in taken]
            free.sort(key=lambda t: -box_iou(box, true[picture][t]))
            if free and box_iou(box, true[picture][free[0]]) >= 0.5:
                taken.add((picture, free[0]))
                hits += 1
        points.append((hits / total, hits / size))
    area = 0.0
    for k in range(1, total + 1):
        area += max((p for r, p in points if r >= k / total - 1e-12), default=0.0) / total
    return area


@given(seed=st.integers(0, 10_000))
def test_the_area_is_that_of_a_naive_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def box() -> Box:
        x, y = rng.integers(0, 12, 2)
        w, h = rng.integers(4, 12, 2)
        return (float(x), float(y), float(x + w), float(y + h))

    true = [[box() for _ in range(rng.integers(1, 4))] for _ in range(3)]
    scores = iter(rng.permutation(100) / 100)
    found = [
        sorted((Candidate(box(), float(next(scores))) for _ in range(rng.integers(0, 5))), key=lambda one: -one.score)
        for _ in range(3)
    ]
    assert precision_recall(found, true).average_precision == pytest.approx(_naive(found, true))
