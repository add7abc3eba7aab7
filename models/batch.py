"""Sequences, pictures and the padded batch: the tensors every backbone is given.

Shape suffixes: B sequences, L positions, N pictures, S picture slots (a picture may fill several), T patches, C
numbers a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch

from models.tokens import TokenType


@dataclass(frozen=True)
class TokenSequence:
    """One item as tokens, not yet padded."""

    ids: list[int]
    types: list[int]
    """`TokenType` of each position."""
    positions: list[tuple[int, int, int]]
    """Time, row and column position of each token, as Qwen2.5-VL counts them."""
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
    patches_TC: torch.Tensor
    """Pixels of all pictures in Qwen's patch layout."""
    grid_N3: torch.Tensor
    """Time, height, width of each picture in patches."""
    extras: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def mask_BL(self) -> torch.Tensor:  # noqa: N802
        """True where a token stands."""
        return self.types_BL != TokenType.PAD

    def to(self, device: torch.device) -> Batch:
        moved = {
            item.name: getattr(self, item.name).to(device)
            for item in fields(self)
            if isinstance(getattr(self, item.name), torch.Tensor)
        }
        return replace(self, **moved, extras={name: value.to(device) for name, value in self.extras.items()})


def collate(
    sequences: Sequence[TokenSequence],
    slot_pictures: Sequence[int],
    patches_TC: torch.Tensor,
    grid_N3: torch.Tensor,
    pad_id: int = 0,
) -> Batch:
    """Pad on the right and stack.

    Args:
        sequences: B items.
        slot_pictures: Index of the picture in each slot, over all sequences in order; S numbers below N.
        patches_TC: Pixels of the N pictures.
        grid_N3: Their grids.
        pad_id: Token id of padding.
    """
    assert sum(item.num_pictures for item in sequences) == len(slot_pictures)
    length = max(len(item) for item in sequences)
    ids_BL = torch.full((len(sequences), length), pad_id, dtype=torch.long)
    types_BL = torch.full((len(sequences), length), int(TokenType.PAD), dtype=torch.long)
    positions_3BL = torch.zeros((3, len(sequences), length), dtype=torch.long)
    rows: list[int] = []
    for row, item in enumerate(sequences):
        ids_BL[row, : len(item)] = torch.tensor(item.ids)
        types_BL[row, : len(item)] = torch.tensor(item.types)
        positions_3BL[:, row, : len(item)] = torch.tensor(item.positions).T
        rows += [row] * item.num_pictures
    return Batch(
        ids_BL,
        types_BL,
        positions_3BL,
        torch.tensor(list(slot_pictures), dtype=torch.long),
        torch.tensor(rows, dtype=torch.long),
        patches_TC,
        grid_N3,
    )
