"""Rows of like length together: chunks of a step, or of a list to embed, with little padding.

A chunk of R rows costs R times its longest row. Rows sorted by length and cut into runs waste the least: among all
ways to fill chunks of given sizes, putting the longest rows together makes the sum of (rows x longest row) smallest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")


@dataclass(frozen=True)
class Buckets:
    """Rows cut into chunks, and the way back."""

    chunks: tuple[tuple[int, ...], ...]
    """Numbers of the rows in each chunk, longest rows first."""
    lengths: tuple[int, ...]
    """Of every row, tokens."""

    @property
    def order(self) -> list[int]:
        """Number of the row at each place of the chunks laid end to end."""
        return [row for chunk in self.chunks for row in chunk]

    @property
    def tokens(self) -> int:
        """Positions that are computed, padding included."""
        return sum(len(chunk) * max(self.lengths[row] for row in chunk) for chunk in self.chunks)

    @property
    def padding_frac(self) -> float:
        """Share of the positions that is padding, 0 to 1."""
        return 1.0 - sum(self.lengths) / self.tokens if self.tokens else 0.0

    def split(self, items: Sequence[Item]) -> list[list[Item]]:
        """The rows' items, chunk by chunk."""
        assert len(items) == len(self.lengths)
        return [[items[row] for row in chunk] for chunk in self.chunks]

    def restore(self, made: torch.Tensor) -> torch.Tensor:
        """Rows of the chunks laid end to end, brought back into their first order; differentiable.

        Args:
            made: (rows, ...).
        """
        assert len(made) == len(self.lengths)
        back = torch.empty(len(self.lengths), dtype=torch.long)
        back[torch.tensor(self.order, dtype=torch.long)] = torch.arange(len(self.lengths))
        return made[back.to(made.device)]


def bucket(
    lengths: Sequence[int], *, rows_per_chunk: int | None = None, tokens_per_chunk: int | None = None
) -> Buckets:
    """Sort rows by length and cut them into chunks.

    The longest rows come first: a batch that does not fit into memory fails at once and not at the end. Rows of equal
    length keep their order, so the same lengths always give the same chunks.

    Args:
        lengths: Tokens of each row.
        rows_per_chunk: Most rows of a chunk.
        tokens_per_chunk: Most positions of a chunk, padding included; a single row may be longer.

    Returns:
        Every row in one chunk; with neither limit all rows in one.
    """
    assert rows_per_chunk is None or rows_per_chunk > 0
    assert tokens_per_chunk is None or tokens_per_chunk > 0
    chunks: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if chunks:
            num = len(chunks[-1]) + 1
            longest = lengths[chunks[-1][0]]
            full = (rows_per_chunk is not None and num > rows_per_chunk) or (
                tokens_per_chunk is not None and num * longest > tokens_per_chunk
            )
        if not chunks or full:
            chunks.append([])
        chunks[-1].append(row)
    return Buckets(tuple(map(tuple, chunks)), tuple(lengths))


def unsorted(lengths: Sequence[int], rows_per_chunk: int) -> Buckets:
    """Chunks of `rows_per_chunk` rows in the order given: what bucketing is compared with."""
    rows = range(len(lengths))
    return Buckets(
        tuple(tuple(rows[start : start + rows_per_chunk]) for start in range(0, len(lengths), rows_per_chunk)),
        tuple(lengths),
    )
