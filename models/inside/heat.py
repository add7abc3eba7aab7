"""Heat maps over an item's photographs: how much of the cosine goes when a part of the photograph is hidden.

A square window slides over the photograph and is painted over wherever the model sees it, in the original and in the
core crop alike. With z what the head adds up and w the other side's unit vector,

    heat(cell) = mean over the windows that cover the cell of <z - z with the window hidden, w> / |z|

so that a window counts by what it adds to z, as the parts of `models.inside.contributions` do. All lengths are held at
those of the whole item: |z|, and where the head adds unit vectors of pictures, words and slots, the length of each
before it was made one. Without that the cosine rises when something is hidden that agrees with w, but less than the
rest of the item does, and a product that is matched mainly by its words would be cold wherever it can be seen. A window
is cold when the item is closer to w without what is hidden.

Nothing is assumed of the model: the decoder, the pooled vision that bypasses it, and the colours, which are counted
and have no gradient, all take part, on any backbone.

Source: occlusion sensitivity, Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014
(arXiv 1311.2901). Our deviations: the score is the share of a cosine, and the window is hidden in both views of the
photograph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from catalog import Box, Photo, Section
from models.backbones import PictureFeatures
from models.batch import collate
from models.encoder import MoonEncoder
from models.inside.frames import Frame, PixelBox
from models.inside.shown import Shown
from models.raw_signals import Signals
from models.tokens import TokenType

VIEWS = (TokenType.IMAGE, TokenType.CROP)


class HeatConfig(Section):
    """How fine a heat map is."""

    cells: int = Field(default=16, ge=2, le=256, description="Cells along the longer side of the photograph.")
    window_cells: int = Field(default=3, ge=1, le=64, description="Side of the hidden window, cells.")
    fill: Literal["mean", "border"] = Field(
        default="border",
        description="What a hidden window shows. border: the median colour of the outermost pixels, so that on a plain "
        "ground a product is taken away and the ground stays as it was; mean: the mean colour of the picture, which is "
        "something new wherever it is put.",
    )
    batch_size: int = Field(default=64, ge=1, le=4096, description="Changed items a forward pass.")


@dataclass(frozen=True)
class HeatMap:
    """One photograph's map."""

    photo: Photo
    number: int
    """Which of the item's photographs, from 0."""
    size_px: tuple[int, int]
    """Width and height of the upright photograph."""
    region_px: PixelBox | None
    """The core crop in the photograph; None where the model is fed no crops."""
    cell_px: float
    """Side of a cell, pixels of the photograph; the last column and row may reach past its edge."""
    heat: np.ndarray
    """(rows, columns) float64: cosine that goes, its length held, where hidden in every view."""
    by_view: dict[TokenType, np.ndarray]
    """The same, hidden in the original (IMAGE) or in the crop (CROP) alone; empty unless asked for."""

    @property
    def peak_px(self) -> tuple[float, float]:
        """x, y of the middle of the hottest cell, pixels of the photograph."""
        row, column = np.unravel_index(int(np.argmax(self.heat)), self.heat.shape)
        width, height = self.size_px
        x0, y0 = column * self.cell_px, row * self.cell_px
        return (x0 + min(x0 + self.cell_px, width)) / 2, (y0 + min(y0 + self.cell_px, height)) / 2


def heat_maps(
    encoder: MoonEncoder,
    shown: Shown,
    target_E: torch.Tensor,
    config: HeatConfig = HeatConfig(),
    *,
    each_view: bool = False,
) -> tuple[HeatMap, ...]:
    """Map every photograph of an item.

    Args:
        encoder: The model.
        shown: A product or query.
        target_E: Unit vector of the other side: what the cosine is taken with.
        config: Cells and window.
        each_view: Also hide the window in the original alone and in the crop alone; three times the work.

    Returns:
        One map a photograph, in order; () for an item without photographs.
    """
    numbers = sorted({frame.number for frame in shown.frames})
    return tuple(_map(encoder, shown, number, target_E, config, each_view) for number in numbers)


def _map(
    encoder: MoonEncoder, shown: Shown, number: int, target_E: torch.Tensor, config: HeatConfig, each_view: bool
) -> HeatMap:
    indices = [index for index, frame in enumerate(shown.frames) if frame.number == number]
    frames = [shown.frames[index] for index in indices]
    size = frames[0].photo_size_px
    cell_px = max(size) / config.cells
    rows, columns = (max(1, int(np.ceil(length / cell_px - 1e-9))) for length in (size[1], size[0]))
    windows = list(_windows(rows, columns, config.window_cells))
    boxes = [(x0 * cell_px, y0 * cell_px, x1 * cell_px, y1 * cell_px) for y0, x0, y1, x1 in windows]
    views: list[tuple[TokenType | None, list[int]]] = [(None, indices)]
    if each_view:
        views += [(frame.kind, [index]) for index, frame in zip(indices, frames, strict=True)]
    found = {}
    for view, hidden in views:
        lost = _lost(encoder, shown, hidden, boxes, target_E, config)
        found[view] = _mean_over_windows(lost, windows, rows, columns)
    regions = [frame.region_px for frame in frames if frame.kind is TokenType.CROP]
    by_view = {view: heat for view, heat in found.items() if view is not None}
    return HeatMap(frames[0].photo, number, size, regions[0] if regions else None, cell_px, found[None], by_view)


def _windows(rows: int, columns: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    """First and last cells (row, column, row, column; the last outside) of every window that touches the photograph.

    Windows reach past the edges, so that cells at the edge are covered as often as those in the middle.
    """
    for row in range(1 - side, rows):
        for column in range(1 - side, columns):
            yield row, column, row + side, column + side


def _mean_over_windows(
    lost: np.ndarray, windows: Sequence[tuple[int, int, int, int]], rows: int, columns: int
) -> np.ndarray:
    total, count = np.zeros((rows, columns)), np.zeros((rows, columns))
    for value, (y0, x0, y1, x1) in zip(lost, windows, strict=True):
        span = (slice(max(y0, 0), y1), slice(max(x0, 0), x1))
        total[span] += value
        count[span] += 1
    return total / count


@torch.inference_mode()
def _lost(
    encoder: MoonEncoder,
    shown: Shown,
    hidden: Sequence[int],
    boxes: Sequence[Box],
    target_E: torch.Tensor,
    config: HeatConfig,
) -> np.ndarray:
    """What goes with each box hidden in the squares `hidden`; (boxes,) float64."""
    pixels_NCHW = encoder.processor.pixels(shown.encoded.squares)
    plain = encoder.model.encode_pictures(pixels_NCHW.to(encoder.device))
    lengths = encoder.model.head.lengths(_signals(encoder, shown, plain, [{}]))
    z_E = _sums(encoder, shown, plain, [{}], lengths)[0]
    towards_E = target_E.double().to(encoder.device) / z_E.norm().clamp(min=1e-12)
    fills = {index: _fill(shown.frames[index], pixels_NCHW[index], config.fill) for index in hidden}
    lost = np.zeros(len(boxes))
    for start in range(0, len(boxes), config.batch_size):
        changed: list[torch.Tensor] = []
        rows: list[dict[int, int]] = []
        for box in boxes[start : start + config.batch_size]:
            replaced = {}
            for index in hidden:
                covered_SS = torch.from_numpy(shown.frames[index].covered(box, pixels_NCHW.shape[-1]))
                if bool(covered_SS.any()):
                    replaced[index] = len(pixels_NCHW) + len(changed)
                    changed.append(torch.lerp(pixels_NCHW[index], fills[index], covered_SS))
            rows.append(replaced)
        if changed:
            features = _together(plain, encoder.model.encode_pictures(torch.stack(changed).to(encoder.device)))
            gone_BE = z_E - _sums(encoder, shown, features, rows, lengths)
            lost[start : start + len(rows)] = (gone_BE @ towards_E).cpu().numpy()
    return lost


def _sums(
    encoder: MoonEncoder,
    shown: Shown,
    features: PictureFeatures,
    rows: Sequence[dict[int, int]],
    lengths: Sequence[torch.Tensor],
) -> torch.Tensor:
    """The head's sum for the item with some of its pictures replaced, one row a replacement; (rows, E) float64."""
    return encoder.model.head.joined(_signals(encoder, shown, features, rows), lengths).double()


def _signals(encoder: MoonEncoder, shown: Shown, features: PictureFeatures, rows: Sequence[dict[int, int]]) -> Signals:
    num = len(shown.frames)
    slots = [replaced.get(index, index) for replaced in rows for index in range(num)]
    pad_id = encoder.processor.template.pad_id
    batch = collate([shown.encoded.sequence] * len(rows), slots, pad_id=pad_id).to(encoder.device)
    return encoder.model.signals(batch, features)


def _together(one: PictureFeatures, other: PictureFeatures) -> PictureFeatures:
    return PictureFeatures(
        torch.cat((one.tokens_NKD, other.tokens_NKD)),
        torch.cat((one.pooled_NP, other.pooled_NP)),
        tuple(torch.cat(pair) for pair in zip(one.deep, other.deep, strict=True)),
    )


def _fill(frame: Frame, pixels_CHW: torch.Tensor, how: str) -> torch.Tensor:
    """(C, 1, 1) colour that hides a window."""
    whole = (0.0, 0.0, float(frame.photo_size_px[0]), float(frame.photo_size_px[1]))
    inside_SS = torch.from_numpy(frame.covered(whole, pixels_CHW.shape[-1])) > 0.5
    if how == "border":
        rows, columns = (axis.nonzero().flatten() for axis in (inside_SS.any(dim=1), inside_SS.any(dim=0)))
        edge_SS = inside_SS.clone()
        edge_SS[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]] = False
        return pixels_CHW[:, edge_SS].median(dim=1).values.view(-1, 1, 1)
    return pixels_CHW[:, inside_SS].mean(dim=1).view(-1, 1, 1)
