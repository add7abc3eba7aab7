"""Which colours a picture has: a raw signal that pooled features of a recognition network have forgotten.

Networks that name objects learn that a red and a blue jacket are both jackets. For a shop they are two products.

Shape suffixes: N pictures, H rows, W columns, C cells of the histogram.
"""

from __future__ import annotations

import torch

BINS = (16, 4, 4)
"""Of hue, saturation and value."""
NUM_CELLS = BINS[0] * BINS[1] * BINS[2]
WHITE_FROM = 0.93
"""A pixel whose channels all lie above it is background, studio wall or the border of the letterbox."""


def hsv(pixels_N3HW: torch.Tensor) -> torch.Tensor:
    """Red, green and blue in [0, 1] to hue, saturation and value in [0, 1], same shape."""
    red, green, blue = pixels_N3HW.unbind(dim=1)
    value, lowest = pixels_N3HW.amax(dim=1), pixels_N3HW.amin(dim=1)
    span = value - lowest
    safe = span.clamp(min=1e-6)
    hue = torch.where(
        value == red,
        ((green - blue) / safe) % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = torch.where(span < 1e-6, 0.0, hue / 6)
    return torch.stack((hue, span / value.clamp(min=1e-6), value), dim=1)


@torch.no_grad()
def colours(pixels_N3HW: torch.Tensor) -> torch.Tensor:
    """Square root of the joint HSV histogram of what is not white.

    Args:
        pixels_N3HW: In [0, 1].

    Returns:
        (N, 256) float32 of length 1, so that the dot product is the Bhattacharyya coefficient; a picture of nothing but
        white keeps its white. No gradient: a pixel falls into one cell.

    Source: our choice; A. Bhattacharyya, On a measure of divergence between two statistical populations, 1943.
    """
    pixels_N3HW = pixels_N3HW.float().clamp(0.0, 1.0)
    cell_NHW = torch.zeros_like(pixels_N3HW[:, 0], dtype=torch.long)
    for axis, bins in zip(hsv(pixels_N3HW).unbind(dim=1), BINS, strict=True):
        cell_NHW = cell_NHW * bins + (axis * bins).long().clamp(max=bins - 1)
    counts_NHW = (pixels_N3HW.amin(dim=1) < WHITE_FROM).float()
    # Adding a trace of every pixel decides only where all are white.
    weight_NP = (counts_NHW + 1e-6).flatten(1)
    total_NC = weight_NP.new_zeros((len(weight_NP), NUM_CELLS)).scatter_add_(1, cell_NHW.flatten(1), weight_NP)
    return (total_NC / total_NC.sum(dim=1, keepdim=True)).sqrt()
