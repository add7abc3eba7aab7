from __future__ import annotations

import heapq

import numpy as np
import pytest
from scipy import ndimage

from models.regions.proposals import grow, propose_boxes
from models.regions.saliency_maps import (
    border_mask,
    border_paths,
    foreground_map,
    geodesic_distance,
    lab_pixels,
    otsu_level,
)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.59, 0.0, 0.0)),
    ],
)
def test_lab_matches_the_published_values(rgb: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    assert lab_pixels(np.array([rgb], dtype=np.uint8))[0] == pytest.approx(lab, abs=0.03)


def test_border_mask_is_a_frame() -> None:
    mask = border_mask((20, 40), 0.1)
    assert mask.sum() == 20 * 40 - 16 * 36
    assert not mask[2:-2, 2:-2].any()


def test_border_paths_equal_a_naive_search() -> None:
    rng = np.random.default_rng(3)
    lab, entry = rng.uniform(0, 60, (13, 9, 3)), rng.uniform(0, 20, (13, 9))
    assert border_paths(lab, entry) == pytest.approx(_naive_paths(lab, entry))


@pytest.mark.parametrize("shape", [(12, 10), (13, 11)])
def test_geodesic_distance_keeps_the_shape(shape: tuple[int, int]) -> None:
    lab = np.zeros((*shape, 3))
    lab[4:8, 4:8, 0] = 50.0
    path = geodesic_distance(lab, np.zeros(shape))
    assert path.shape == shape
    assert path[4:8, 4:8] == pytest.approx(50.0, abs=0.1)
    assert path[0] == pytest.approx(0.0, abs=0.1)


def _naive_paths(lab: np.ndarray, start: np.ndarray) -> np.ndarray:
    height, width = start.shape
    steps = [np.linalg.norm(lab[y, x] - lab[y, x + 1]) for y in range(height) for x in range(width - 1)]
    steps += [np.linalg.norm(lab[y, x] - lab[y + 1, x]) for y in range(height - 1) for x in range(width)]
    noise = np.median(steps)
    best = np.full((height, width), np.inf)
    heap = []
    for y in range(height):
        for x in range(width):
            if y in (0, height - 1) or x in (0, width - 1):
                heap.append((start[y, x] + 1e-3, y, x))
    heapq.heapify(heap)
    while heap:
        cost, y, x = heapq.heappop(heap)
        if cost >= best[y, x]:
            continue
        best[y, x] = cost
        for ny, nx in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= ny < height and 0 <= nx < width:
                step = max(float(np.linalg.norm(lab[y, x] - lab[ny, nx])) - noise, 0.0) + 1e-3
                heapq.heappush(heap, (cost + step, ny, nx))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_otsu_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0.25, 0.08, 600), rng.normal(0.75, 0.1, 300)]).clip(0, 0.999)
    binned = (np.floor(values * 64) + 0.5) / 64
    spread = {}
    for level in np.arange(1, 64) / 64:
        low, high = binned[values < level], binned[values >= level]
        if low.size and high.size:
            spread[level] = low.size * high.size * (low.mean() - high.mean()) ** 2
    assert spread[otsu_level(values)] == pytest.approx(max(spread.values()))


def test_foreground_map_is_in_range_and_marks_the_object() -> None:
    rgb = np.full((60, 80, 3), 200, dtype=np.uint8)
    rgb[20:40, 30:60] = (180, 20, 30)
    product = foreground_map(rgb, 0.03)
    assert product.min() >= 0.0
    assert product.max() <= 1.0
    assert product[22:38, 32:58].min() > 0.9
    assert product[:15].max() < 0.1


def test_specks_and_threads_are_no_candidates() -> None:
    product = np.zeros((80, 80))
    product[20:50, 20:50] = 1.0
    product[35, 50:80] = 1.0
    product[70, 5] = 1.0
    # The thread is cut, save for the two pixels that growing back returns.
    assert propose_boxes(product)[0][0] == (20.0, 20.0, 52.0, 50.0)


def test_an_empty_map_has_no_boxes() -> None:
    assert propose_boxes(np.zeros((20, 20))) == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (17, 23)])
def test_growing_a_mask_equals_scipys_dilation(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(5).random(shape) < 0.15
    assert np.array_equal(grow(mask), ndimage.binary_dilation(mask, np.ones((3, 3))))
