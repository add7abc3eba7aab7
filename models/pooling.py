"""From hidden states to an embedding: masked means, the gated vision residual, and the head."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

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


def pool(hidden_BLD: torch.Tensor, types_BL: torch.Tensor, how: str) -> torch.Tensor:
    """Pool as the configuration says: `mean` or `balanced`."""
    return balanced_pool(hidden_BLD, types_BL) if how == "balanced" else mean_pool(hidden_BLD, types_BL)


def mean_by_row(values_SD: torch.Tensor, row_S: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Mean of the values of each row; zero for a row without any.

    Returns:
        (num_rows, D).
    """
    total = values_SD.new_zeros((num_rows, values_SD.shape[-1])).index_add(0, row_S, values_SD)
    count = torch.bincount(row_S, minlength=num_rows).clamp(min=1)
    return total / count.unsqueeze(-1).to(total.dtype)


def word_pool(embeds_BLD: torch.Tensor, types_BL: torch.Tensor) -> torch.Tensor:
    """Mean over the means of the word types present (TITLE, CATEGORY, ATTRIBUTE), before any layer mixed them.

    Returns:
        (B, D); zero where there are no words.
    """
    member_BKL = (types_BL.unsqueeze(1) == torch.tensor(WORD_TYPES, device=types_BL.device).view(1, -1, 1)).to(
        embeds_BLD.dtype
    )
    count_BK = member_BKL.sum(dim=-1)
    means_BKD = (member_BKL @ embeds_BLD) / count_BK.clamp(min=1).unsqueeze(-1)
    return means_BKD.sum(dim=1) / (count_BK > 0).sum(dim=-1).clamp(min=1).unsqueeze(-1)


class Head(nn.Module):
    """Fused hidden state, plus residuals of the raw signals, to a unit vector.

        z = W_h norm(h) + g W_v norm(v) + W_w norm(w)        g = 0 without a picture, W_w norm(w) = 0 without words

    v is the pooled vision tower. Its gate g is learnt and starts open, at one: with a small backbone the fused path
    loses visual detail, and the residual carries it past the decoder. w are the pooled token embeddings: the very words
    of a query and of a title, which a young decoder blurs. W_w starts at zero, because a bag of random word vectors
    would match words before anything was learnt, and what was learnt could then not be told apart.

    Args:
        hidden_size: Width of h and of w.
        vision_size: Width of v.
        dims: Length of the embedding.
        vision_residual: False leaves the second term out.
        word_residual: False leaves the third term out.

    Source: our choice; MOON3.0 (arXiv 2604.00513) names multi-head fusion of raw signals without a formula.
    """

    def __init__(
        self, hidden_size: int, vision_size: int, dims: int, vision_residual: bool, word_residual: bool
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.project = nn.Linear(hidden_size, dims, bias=False)
        self.vision_norm = nn.LayerNorm(vision_size) if vision_residual else None
        self.vision_project = nn.Linear(vision_size, dims, bias=False) if vision_residual else None
        self.gate = nn.Parameter(torch.ones(())) if vision_residual else None
        self.word_norm = nn.LayerNorm(hidden_size) if word_residual else None
        self.word_project = nn.Linear(hidden_size, dims, bias=False) if word_residual else None
        if self.word_project is not None:
            nn.init.zeros_(self.word_project.weight)

    def forward(
        self,
        hidden_BD: torch.Tensor,
        vision_BV: torch.Tensor,
        has_picture_B: torch.Tensor,
        words_BD: torch.Tensor,
        has_words_B: torch.Tensor,
    ) -> torch.Tensor:
        """Returns (B, dims) float32, L2-normalised."""
        z_BE = self.project(self.norm(hidden_BD))
        if self.vision_project is not None and self.vision_norm is not None and self.gate is not None:
            residual = self.gate * self.vision_project(self.vision_norm(vision_BV))
            z_BE = z_BE + residual * has_picture_B.unsqueeze(-1).to(residual.dtype)
        if self.word_project is not None and self.word_norm is not None:
            residual = self.word_project(self.word_norm(words_BD))
            z_BE = z_BE + residual * has_words_B.unsqueeze(-1).to(residual.dtype)
        return F.normalize(z_BE.float(), dim=-1)


def matryoshka(vectors_BE: torch.Tensor, dims: int) -> torch.Tensor:
    """The first `dims` numbers of each vector, normalised again; differentiable."""
    return F.normalize(vectors_BE[:, :dims], dim=-1)
