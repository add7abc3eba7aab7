"""Expert load: which experts the tokens of each type chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from models.moe.guided import GuidedMoe
from models.tokens import TokenType


def load_table(moes: Sequence[GuidedMoe]) -> torch.Tensor:
    """Choices since the counters were last cleared; leaves them alone.

    Returns:
        (layers, token types, experts) int64 on the CPU; a row of zeros is a type that was not routed.
    """
    tables = [moe.load.cpu() for moe in moes]
    return torch.stack(tables) if tables else torch.zeros((0, len(TokenType), 0), dtype=torch.int64)


def expert_load(moes: Sequence[GuidedMoe]) -> dict[str, float]:
    """Share of each expert by token type since the counters were last cleared, in [0, 1]; then clear them.

    Returns:
        `moe_{n}/{type}/expert_{e}` to share; types that were not routed are left out.
    """
    shares: dict[str, float] = {}
    for number, (moe, table) in enumerate(zip(moes, load_table(moes), strict=True)):
        for kind in TokenType:
            total = int(table[kind].sum())
            if total:
                for expert, count in enumerate(table[kind].tolist()):
                    shares[f"moe_{number}/{kind.name.lower()}/expert_{expert}"] = count / total
        moe.load = torch.zeros_like(moe.load)
    return shares


class LoadTotal:
    """Choices over a whole training: they outlive the counters, which `expert_load` clears at each logged point.

    Args:
        moes: The guided layers.
        before: (layers, token types, experts) int64: choices of earlier runs of the same training; none where empty.
    """

    def __init__(self, moes: Sequence[GuidedMoe], before: torch.Tensor | None = None) -> None:
        self._moes = moes
        self._before = torch.zeros_like(load_table(moes)) if before is None else before

    def take(self) -> dict[str, float]:
        """As `expert_load`, and keep what it clears."""
        self._before = self.table()
        return expert_load(self._moes)

    def table(self) -> torch.Tensor:
        """(layers, token types, experts) int64 on the CPU: all choices so far, those not yet logged among them."""
        return self._before + load_table(self._moes)


def plain_load(table: torch.Tensor) -> list[dict[str, list[int]]]:
    """A table of choices as plain data: a mapping a layer, from the name of a token type to its choices by expert.

    Types that were not routed are left out. Names, not numbers: a record outlives the order of the types.
    """
    return [
        {kind.name.lower(): layer[kind].tolist() for kind in TokenType if int(layer[kind].sum())} for layer in table
    ]


def table_of_plain(layers: Sequence[Mapping[str, Sequence[int]]]) -> torch.Tensor:
    """The table that `plain_load` was given, but for experts of layers that routed nothing anywhere.

    Returns:
        (layers, token types, experts) int64; types that are not known any more are left out.
    """
    num_experts = max((len(counts) for layer in layers for counts in layer.values()), default=0)
    table = torch.zeros((len(layers), len(TokenType), num_experts), dtype=torch.int64)
    known = {kind.name.lower(): kind for kind in TokenType}
    for number, layer in enumerate(layers):
        for name, counts in layer.items():
            if name in known:
                table[number, known[name]] = torch.tensor(counts)
    return table
