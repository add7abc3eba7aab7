"""From hidden states to one vector: masked means over all tokens, or over those of some types."""

from __future__ import annotations

import torch

from models.tokens import WORD_TYPES, TokenType


def mean_pool(hidden_BLD: torch.Tensor, types_BL: torch.Tensor) -> torch.Tensor:
    """Mean over all positions that are not padding.

    Returns:
        (B, D); hidden states are those after the final norm.
    """
    present_BL1 = (types_BL != TokenType.PAD).unsqueeze(-1).to(hidden_BLD.dtype)
    return (hidden_BLD * present_BL1).sum(dim=1) / present_BL1.sum(dim=1)


def balanced_pool(hidden_BLD: torch.Tensor, types_BL: torch.Tensor) -> torch.Tensor:
    """Mean over the means of the token types present, so that a hundred picture tokens do not drown a short title.

    The template (OTHER) counts only where nothing else is there.

    Returns:
        (B, D).
    """
    kinds = torch.tensor(
        [kind for kind in TokenType if kind not in (TokenType.PAD, TokenType.OTHER)], device=types_BL.device
    )
    member_BKL = (types_BL.unsqueeze(1) == kinds.view(1, -1, 1)).to(hidden_BLD.dtype)
    count_BK = member_BKL.sum(dim=-1)
    means_BKD = (member_BKL @ hidden_BLD) / count_BK.clamp(min=1).unsqueeze(-1)
    kinds_present_B = (count_BK > 0).sum(dim=-1)
    balanced_BD = means_BKD.sum(dim=1) / kinds_present_B.clamp(min=1).unsqueeze(-1)
    return torch.where((kinds_present_B > 0).unsqueeze(-1), balanced_BD, mean_pool(hidden_BLD, types_BL))


def last_pool(hidden_BLD: torch.Tensor, types_BL: torch.Tensor) -> torch.Tensor:
    """The last token that is not padding, on whichever side the padding is.

    Returns:
        (B, D).
    """
    places_L = torch.arange(1, types_BL.shape[1] + 1, device=types_BL.device)
    last_B = ((types_BL != TokenType.PAD) * places_L).argmax(dim=1)
    return hidden_BLD[torch.arange(len(last_B), device=last_B.device), last_B]


_POOLS = {"mean": mean_pool, "balanced": balanced_pool, "last": last_pool}


def pool(hidden_BLD: torch.Tensor, types_BL: torch.Tensor, how: str) -> torch.Tensor:
    """Pool as the configuration says: `mean`, `balanced` or `last`."""
    return _POOLS[how](hidden_BLD, types_BL)


def pool_kinds(
    hidden_BLD: torch.Tensor, types_BL: torch.Tensor, kinds: tuple[TokenType, ...], how: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pool the positions of some kinds alone.

    Returns:
        (B, D), zero where there are none, and (B,): where there are some.
    """
    wanted_BL = torch.isin(types_BL, torch.tensor(kinds, device=types_BL.device))
    there_B = wanted_BL.any(dim=1)
    # Of a row without any the first position stands in, so that no pooling divides by nothing.
    shown_BL = torch.where(wanted_BL, types_BL, int(TokenType.PAD))
    shown_BL[:, 0] = torch.where(there_B, shown_BL[:, 0], int(TokenType.OTHER))
    return pool(hidden_BLD, shown_BL, how) * there_B.unsqueeze(-1).to(hidden_BLD.dtype), there_B


def mean_by_row(values_SD: torch.Tensor, row_S: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Mean of the values of each row; zero for a row without any.

    Returns:
        (num_rows, D).
    """
    total = values_SD.new_zeros((num_rows, values_SD.shape[-1])).index_add(0, row_S, values_SD)
    count = torch.bincount(row_S, minlength=num_rows).clamp(min=1)
    return total / count.unsqueeze(-1).to(total.dtype)


def word_pool(embeds_BLD: torch.Tensor, types_BL: torch.Tensor, weights_BL: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over the means of the word types present (TITLE, CATEGORY, ATTRIBUTE), before any layer mixed them.

    Args:
        embeds_BLD: Token embeddings.
        types_BL: `TokenType` of each position.
        weights_BL: What a token counts within its field, above zero; empty: all the same.

    Returns:
        (B, D); zero where there are no words.
    """
    member_BKL = (types_BL.unsqueeze(1) == torch.tensor(WORD_TYPES, device=types_BL.device).view(1, -1, 1)).to(
        embeds_BLD.dtype
    )
    present_BK = member_BKL.sum(dim=-1) > 0
    if weights_BL is not None:
        member_BKL = member_BKL * weights_BL.unsqueeze(1).to(embeds_BLD.dtype)
    total_BK1 = member_BKL.sum(dim=-1, keepdim=True)
    means_BKD = (member_BKL @ embeds_BLD) / torch.where(present_BK.unsqueeze(-1), total_BK1, 1.0)
    return means_BKD.sum(dim=1) / present_BK.sum(dim=-1, keepdim=True).clamp(min=1)


def rarity(counts_V: torch.Tensor, total: int, smooth: float = 1e-3) -> torch.Tensor:
    """What each token of the vocabulary counts: smooth / (smooth + share of it among all tokens), in (0, 1].

    Args:
        counts_V: How often each token stands in the train side's texts.
        total: Tokens counted.
        smooth: Share at which a token counts half.

    Source: smooth inverse frequency, Arora et al., A Simple but Tough-to-Beat Baseline for Sentence Embeddings, 2017.
    """
    return smooth / (smooth + counts_V.float() / max(total, 1))
