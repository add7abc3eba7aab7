"""The colour signal against the standard library and against a naive histogram."""

from __future__ import annotations

import colorsys

import numpy as np
import torch

from models.colours import BINS, NUM_CELLS, colours, hsv


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
        counts = np.zeros(NUM_CELLS)
        for red, green, blue in picture.reshape(3, -1).T:
            if min(red, green, blue) < 0.93:
                parts = [
                    min(int(x * b), b - 1) for x, b in zip(colorsys.rgb_to_hsv(red, green, blue), BINS, strict=True)
                ]
                counts[(parts[0] * BINS[1] + parts[1]) * BINS[2] + parts[2]] += 1
        assert np.allclose(row.numpy() ** 2, counts / counts.sum(), atol=1e-4)


def test_white_alone_is_white_and_no_picture_is_none() -> None:
    assert float(colours(torch.ones(1, 3, 4, 4)).norm()) == 1.0
    assert int((colours(torch.ones(1, 3, 4, 4)) > 0).sum()) == 1
    assert colours(torch.zeros(0, 3, 4, 4)).shape == (0, NUM_CELLS)
