"""Sequences, pictures and the padded batch: the tensors every backbone is given.

Shape suffixes: B sequences, L positions, N pictures, S picture slots (a picture may fill several), C, H, W channels,
rows and columns of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch.nn import functional as F

from models.tokens import TokenType


@dataclass(frozen=True)
class TokenSequence:
    """One item as tokens, not yet padded."""

    ids: list[int]
    types: list[int]
    """`TokenType` of each position."""
    positions: list[tuple[int, int, int]]
    """Time, row and column position of each token, as Qwen2.5-VL counts them; three times the same where a backbone
    counts tokens alone."""
    num_pictures: int
    """Picture slots, in the order in which they stand in the sequence."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """Padded sequences and the pictures they refer to."""

    ids_BL: torch.Tensor
    types_BL: torch.Tensor
    """`TokenType` of each position; PAD where padded."""
    positions_3BL: torch.Tensor
    slot_picture_S: torch.Tensor
    """Picture that fills each slot; slots counted along the sequences, row by row."""
    slot_row_S: torch.Tensor
    """Sequence each slot belongs to."""
    pixels_NCHW: torch.Tensor
    """Normalised pixels of all pictures, squares of one size; empty where their features are at hand."""

    @property
    def mask_BL(self) -> torch.Tensor:  # noqa: N802
        """True where a token stands."""
        return self.types_BL != TokenType.PAD

    @property
    def picture_mask_BL(self) -> torch.Tensor:  # noqa: N802
        """True where a picture's token stands."""
        return (self.types_BL == TokenType.IMAGE) | (self.types_BL == TokenType.CROP)

    def __len__(self) -> int:
        return self.ids_BL.shape[0]

    def rows(self, rows_R: torch.Tensor) -> Batch:
        """Some of the sequences, in the order given and no longer than they need; the pictures stay all."""
        mask_RL = self.mask_BL[rows_R]
        used = torch.nonzero(mask_RL.any(dim=0)).squeeze(-1)
        span = slice(int(used[0]), int(used[-1]) + 1)
        # Slots stand row by row, so those of a row are one run; a stable sort keeps the order within it.
        place = torch.full((len(self),), -1, dtype=torch.long, device=rows_R.device)
        place[rows_R] = torch.arange(len(rows_R), device=rows_R.device)
        new_row_S = place[self.slot_row_S]
        kept = torch.nonzero(new_row_S >= 0).squeeze(-1)
        kept = kept[new_row_S[kept].argsort(stable=True)]
        return replace(
            self,
            ids_BL=self.ids_BL[rows_R, span],
            types_BL=self.types_BL[rows_R, span],
            positions_3BL=self.positions_3BL[:, rows_R, span],
            slot_picture_S=self.slot_picture_S[kept],
            slot_row_S=new_row_S[kept],
        )

    def to(self, device: torch.device) -> Batch:
        moved = {
            item.name: getattr(self, item.name).to(device)
            for item in fields(self)
            if isinstance(getattr(self, item.name), torch.Tensor)
        }
        return replace(self, **moved)


def collate(
    sequences: Sequence[TokenSequence],
    slot_pictures: Sequence[int],
    pixels_NCHW: torch.Tensor | None = None,
    pad_id: int = 0,
    padding: Literal["right", "left"] = "right",
) -> Batch:
    """Pad and stack.

    Args:
        sequences: B items.
        slot_pictures: Index of the picture in each slot, over all sequences in order; S numbers below N.
        pixels_NCHW: Pixels of the N pictures; none where their features are at hand.
        pad_id: Token id of padding.
        padding: The side it goes to; vectors do not depend on it.
    """
    assert sum(item.num_pictures for item in sequences) == len(slot_pictures)
    length = max(len(item) for item in sequences)
    ids_BL = torch.full((len(sequences), length), pad_id, dtype=torch.long)
    types_BL = torch.full((len(sequences), length), int(TokenType.PAD), dtype=torch.long)
    positions_3BL = torch.zeros((3, len(sequences), length), dtype=torch.long)
    rows: list[int] = []
    for row, item in enumerate(sequences):
        start = length - len(item) if padding == "left" else 0
        span = slice(start, start + len(item))
        ids_BL[row, span] = torch.tensor(item.ids)
        types_BL[row, span] = torch.tensor(item.types)
        positions_3BL[:, row, span] = torch.tensor(item.positions).T
        rows += [row] * item.num_pictures
    return Batch(
        ids_BL,
        types_BL,
        positions_3BL,
        torch.tensor(list(slot_pictures), dtype=torch.long),
        torch.tensor(rows, dtype=torch.long),
        torch.zeros((0, 3, 1, 1)) if pixels_NCHW is None else pixels_NCHW,
    )


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches whose slots refer to the same pictures, one below the other, padded on the right to the longest.

    Args:
        batches: At least one; the pixels of the first are taken.
    """
    length = max(one.ids_BL.shape[1] for one in batches)
    starts = [0]
    for one in batches:
        starts.append(starts[-1] + len(one))

    def wide(values: torch.Tensor, filler: int) -> torch.Tensor:
        return F.pad(values, (0, length - values.shape[-1]), value=filler)

    return replace(
        batches[0],
        ids_BL=torch.cat([wide(one.ids_BL, 0) for one in batches]),
        types_BL=torch.cat([wide(one.types_BL, int(TokenType.PAD)) for one in batches]),
        positions_3BL=torch.cat([wide(one.positions_3BL, 0) for one in batches], dim=1),
        slot_picture_S=torch.cat([one.slot_picture_S for one in batches]),
        slot_row_S=torch.cat([one.slot_row_S + start for one, start in zip(batches, starts, strict=False)]),
    )
