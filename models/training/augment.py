"""Mild random changes of the training pictures, all pictures of a batch in a few tensor operations."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from models.config import AugmentConfig

STRONG_CROP = (0.2, 0.5)
"""Share of the picture that a crop keeps when it stands in for a second photograph."""


def augment(
    pixels_NCHW: torch.Tensor, strong_N: torch.Tensor, config: AugmentConfig, generator: torch.Generator
) -> torch.Tensor:
    """Random crop, mirror, brightness and contrast of each picture.

    Args:
        pixels_NCHW: In [-1, 1].
        strong_N: True where a much smaller crop is wanted.
        config: How far to go.
        generator: Decides; one draw a picture and change.

    Returns:
        The same shape, in [-1, 1].
    """
    num = pixels_NCHW.shape[0]
    draw = torch.rand((6, num), generator=generator)
    lowest = torch.where(strong_N, STRONG_CROP[0], config.min_area_frac)
    highest = torch.where(strong_N, STRONG_CROP[1], 1.0)
    side = (lowest + (highest - lowest) * draw[0]).sqrt()
    flip = torch.where(draw[1] < config.flip, -1.0, 1.0)
    # grid_sample's picture spans [-1, 1]: a crop of side s may move by 1 - s to either hand.
    shift_x, shift_y = (2 * draw[2] - 1) * (1 - side), (2 * draw[3] - 1) * (1 - side)
    zero = torch.zeros_like(side)
    theta = torch.stack([torch.stack([side * flip, zero, shift_x], 1), torch.stack([zero, side, shift_y], 1)], 1)
    grid = F.affine_grid(theta, list(pixels_NCHW.shape), align_corners=False)
    cropped = F.grid_sample(pixels_NCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)
    brightness = 1 + config.brightness * (2 * draw[4] - 1)
    contrast = 1 + config.contrast * (2 * draw[5] - 1)
    light = (cropped + 1) * brightness.view(-1, 1, 1, 1) - 1
    middle = light.mean(dim=(1, 2, 3), keepdim=True)
    return ((light - middle) * contrast.view(-1, 1, 1, 1) + middle).clamp(-1.0, 1.0)
