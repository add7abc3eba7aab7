"""What MOON needs to know of a decoder MLLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn


@dataclass(frozen=True)
class PictureFeatures:
    """What the vision tower made of N pictures."""

    tokens_NKD: torch.Tensor
    """K tokens a picture, in the decoder's width."""
    pooled_NV: torch.Tensor
    """Mean over the picture's patches, in the tower's own width."""


class Backbone(Protocol):
    """An adapter: where the vision tower, the decoder layers and their FFN are."""

    hidden_size: int
    vision_size: int

    def encode_pictures(self, patches_TC: torch.Tensor, grid_N3: torch.Tensor) -> PictureFeatures:
        """Run the vision tower; pictures do not see each other."""
        ...

    def embed_tokens(self, ids_BL: torch.Tensor) -> torch.Tensor:
        """The decoder's own token embeddings, (B, L, D)."""
        ...

    def hidden_states(
        self,
        ids_BL: torch.Tensor,
        mask_BL: torch.Tensor,
        positions_3BL: torch.Tensor,
        picture_tokens_SKD: torch.Tensor,
    ) -> torch.Tensor:
        """Run the decoder with the picture tokens in their slots.

        Returns:
            (B, L, D) hidden states after the final norm.
        """
        ...

    def decoder_layers(self) -> nn.ModuleList:
        """The decoder's layers; each has its FFN as the attribute `ffn_name`."""
        ...

    @property
    def ffn_name(self) -> str: ...

    def vision_parameters(self) -> list[nn.Parameter]:
        """The parameters that learn at the vision tower's rate."""
        ...
