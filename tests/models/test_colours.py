"""The colour signal against the standard library and against a naive histogram."""

from __future__ import annotations

import colorsys

import numpy as np
import torch

from models.colours import BINS, NUM_CELLS, NUM_FINE, NUM_GREYS, NUM_HUES, colours, hsv


def test_hsv_is_the_standard_librarys() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.random((50, 3)), [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 0, 1]]])
    pixels = torch.tensor(values, dtype=torch.float64).T.reshape(1, 3, 5, 11)
    made = hsv(pixels)[0].reshape(3, -1).T
    expected = torch.tensor([colorsys.rgb_to_hsv(*row) for row in values], dtype=torch.float64)
    assert torch.allclose(made, expected, atol=1e-5)


def test_histogram_counts_what_is_not_white() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.random((2, 3, 6, 6)).astype(np.float32)
    pixels[0, :, :3] = 1.0
    made = colours(torch.from_numpy(pixels))
    for picture, row in zip(pixels, made, strict=True):
        counts = np.zeros(NUM_FINE)
        for red, green, blue in picture.reshape(3, -1).T:
            if min(red, green, blue) < 0.93:
                parts = [
                    min(int(x * b), b - 1) for x, b in zip(colorsys.rgb_to_hsv(red, green, blue), BINS, strict=True)
                ]
                counts[(parts[0] * BINS[1] + parts[1]) * BINS[2] + parts[2]] += 1
        assert np.allclose(row.numpy()[:NUM_FINE] ** 2, counts / counts.sum(), atol=1e-4)


def test_coarse_cells_are_hues_by_colour_and_values_by_greyness() -> None:
    rng = np.random.default_rng(2)
    pixels = rng.random((3, 5, 5)).astype(np.float32) * 0.9
    hues, greys = np.zeros(NUM_HUES), np.zeros(NUM_GREYS)
    spread = np.exp(-0.5 * (np.minimum(np.arange(NUM_HUES), NUM_HUES - np.arange(NUM_HUES)) / 0.5) ** 2)
    for rgb in pixels.reshape(3, -1).T:
        hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
        own = min(int(hue * NUM_HUES), NUM_HUES - 1)
        hues += saturation * value * np.roll(spread, own) / spread.sum()
        greys[min(int(value * NUM_GREYS), NUM_GREYS - 1)] += 1 - saturation * value
    expected = np.concatenate([hues, greys]) / (hues.sum() + greys.sum())
    made = colours(torch.from_numpy(pixels)[None])[0, NUM_FINE:]
    assert np.allclose(made.numpy() ** 2, expected, atol=1e-4)


def test_a_lighter_shade_shares_coarse_cells_and_no_fine_one() -> None:
    def plain(*rgb: float) -> torch.Tensor:
        return colours(torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 4, 4))[0]

    blue, light, red = plain(0.05, 0.1, 0.85), plain(0.4, 0.45, 0.9), plain(0.85, 0.1, 0.05)
    assert float(blue[:NUM_FINE] @ light[:NUM_FINE]) < 1e-3
    assert float(blue[NUM_FINE:] @ light[NUM_FINE:]) > 0.7 > 0.3 > float(blue[NUM_FINE:] @ red[NUM_FINE:])


def test_white_alone_is_white_and_no_picture_is_none() -> None:
    white = colours(torch.ones(1, 3, 4, 4))[0]
    assert white[:NUM_FINE].norm() == white[NUM_FINE:].norm() == 1.0
    assert int((white > 0).sum()) == 2
    assert colours(torch.zeros(0, 3, 4, 4)).shape == (0, NUM_CELLS)
