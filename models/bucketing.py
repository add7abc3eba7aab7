"""Rows of like length together: chunks of a step, or of a list to embed, with little padding.

A chunk of R rows costs R times its longest row. Among all ways to fill chunks of given sizes, runs of the rows sorted
by length make the sum of these costs smallest.
"""

from __future__ import annotations

import itertools
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
        Every row in exactly one chunk; without limits all rows in one.
    """
    assert rows_per_chunk is None or rows_per_chunk > 0
    assert tokens_per_chunk is None or tokens_per_chunk > 0
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    made = _equal_runs(order, lengths, rows_per_chunk or max(len(order), 1))
    if tokens_per_chunk is not None and any(
        len(chunk) > 1 and len(chunk) * lengths[chunk[0]] > tokens_per_chunk for chunk in made
    ):
        made = _greedy_runs(order, lengths, rows_per_chunk or len(order), tokens_per_chunk)
    return Buckets(tuple(map(tuple, made)), tuple(lengths))


def _equal_runs(order: list[int], lengths: Sequence[int], rows: int) -> list[list[int]]:
    """Runs of `rows` rows; the one that is shorter stands where it saves most."""
    num, short = divmod(len(order), rows)
    if not short:
        return [order[start : start + rows] for start in range(0, len(order), rows)]

    def cut(before: int) -> list[list[int]]:
        ends = [rows * number for number in range(before + 1)]
        ends += [end + short for end in range(rows * before, rows * num + 1, rows)]
        return [order[start:end] for start, end in itertools.pairwise(ends)]

    # A run costs its size times its first row; a short one early lets every later run begin at shorter rows.
    return min(
        (cut(before) for before in range(num + 1)), key=lambda runs: sum(len(run) * lengths[run[0]] for run in runs)
    )


def _greedy_runs(order: list[int], lengths: Sequence[int], rows: int, tokens: int) -> list[list[int]]:
    """From the longest row on, each run as long as both limits allow."""
    runs: list[list[int]] = []
    for row in order:
        if not runs or len(runs[-1]) == rows or (len(runs[-1]) + 1) * lengths[runs[-1][0]] > tokens:
            runs.append([])
        runs[-1].append(row)
    return runs


def unsorted(lengths: Sequence[int], rows_per_chunk: int) -> Buckets:
    """Chunks of `rows_per_chunk` rows in the order given: what bucketing is compared with."""
    rows = range(len(lengths))
    return Buckets(
        tuple(tuple(rows[start : start + rows_per_chunk]) for start in range(0, len(lengths), rows_per_chunk)),
        tuple(lengths),
    )
