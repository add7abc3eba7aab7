"""Expert load: which experts the tokens of each type chose."""

from __future__ import annotations

from collections.abc import Sequence

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
