"""Which colours a picture has: a raw signal that pooled features of a recognition network have forgotten.

Networks that name objects learn that a red and a blue jacket are both jackets. For a shop they are two products.

Shape suffixes: N pictures, H rows, W columns, C cells of the histogram.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

BINS = (16, 4, 4)
"""Of hue, saturation and value: fine cells, which two photographs of one product share."""
NUM_HUES, NUM_GREYS = 12, 4
"""Coarse cells: hues by how colourful a pixel is, values by how grey it is. Light or shade moves a colour from one fine
cell to another and leaves it here."""
HUE_SPREAD = 0.5
"""Deviation, in coarse hues, by which a pixel counts for the hues beside its own."""
NUM_FINE = BINS[0] * BINS[1] * BINS[2]
NUM_CELLS = NUM_FINE + NUM_HUES + NUM_GREYS
WHITE_FROM = 0.93
"""A pixel whose channels all lie above it is background, studio wall or the border of the letterbox."""


def code_digest() -> str:
    """SHA-256 of this file: colours that were kept on disk by another version of it are not these."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


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
    """Square roots of a fine and of a coarse histogram of what is not white.

    Args:
        pixels_N3HW: In [0, 1].

    Returns:
        (N, 272) float32: 256 fine cells and 16 coarse ones, each part of length 1, so that the dot product is the sum
        of two Bhattacharyya coefficients; a picture of nothing but white keeps its white. No gradient: a pixel falls
        into one cell.

    Source: our choice; A. Bhattacharyya, On a measure of divergence between two statistical populations, 1943.
    """
    pixels_N3HW = pixels_N3HW.float().clamp(0.0, 1.0)
    axes = hsv(pixels_N3HW).unbind(dim=1)
    cell_NHW = torch.zeros_like(pixels_N3HW[:, 0], dtype=torch.long)
    for axis, bins in zip(axes, BINS, strict=True):
        cell_NHW = cell_NHW * bins + _bin(axis, bins)
    counts_NHW = (pixels_N3HW.amin(dim=1) < WHITE_FROM).float()
    # Adding a trace of every pixel decides only where all are white.
    weight_NP = (counts_NHW + 1e-6).flatten(1)
    hue_NP, saturation_NP, value_NP = (axis.flatten(1) for axis in axes)
    chroma_NP = saturation_NP * value_NP
    fine_NC = _counted(cell_NHW.flatten(1), weight_NP, NUM_FINE)
    hues_NC = _counted(_bin(hue_NP, NUM_HUES), weight_NP * chroma_NP, NUM_HUES) @ _beside().to(weight_NP.device)
    greys_NC = _counted(_bin(value_NP, NUM_GREYS), weight_NP * (1.0 - chroma_NP), NUM_GREYS)
    parts = (fine_NC, torch.cat((hues_NC, greys_NC), dim=1))
    return torch.cat([(part / part.sum(dim=1, keepdim=True)).sqrt() for part in parts], dim=1)


def _bin(axis: torch.Tensor, bins: int) -> torch.Tensor:
    return (axis * bins).long().clamp(max=bins - 1)


def _counted(cell_NP: torch.Tensor, weight_NP: torch.Tensor, cells: int) -> torch.Tensor:
    return weight_NP.new_zeros((len(weight_NP), cells)).scatter_add_(1, cell_NP, weight_NP)


def _beside() -> torch.Tensor:
    """(hues, hues): how much a pixel of one hue counts for each, summing to one; hues lie on a circle."""
    places = torch.arange(NUM_HUES)
    apart = (places.unsqueeze(1) - places).abs()
    apart = torch.minimum(apart, NUM_HUES - apart).float()
    return torch.softmax(-0.5 * (apart / HUE_SPREAD).square(), dim=1)
