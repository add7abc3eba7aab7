"""What MOON needs to know of a decoder MLLM.

Shape suffixes: N pictures, K tokens a picture, S picture slots, B sequences, L positions, D the decoder's width, V the
tower's, P the pooled vision signal's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from models.template import Positions


@dataclass(frozen=True)
class PictureLayout:
    """How a square becomes numbers and tokens."""

    side_px: int
    rows: int
    columns: int
    """Tokens of a picture, row by row."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Pixels reach the tower as (value / 255 - mean) / std, by channel."""

    @property
    def num_tokens(self) -> int:
        """Tokens a picture."""
        return self.rows * self.columns


@dataclass(frozen=True)
class SeenPictures:
    """What the vision tower alone made of N pictures: may be kept where the tower is frozen."""

    grid_NKV: torch.Tensor
    """K tokens a picture, before the projector."""
    pooled_NP: torch.Tensor
    """The picture as one vector, in a width of its own."""
    deep: tuple[torch.Tensor, ...] = ()
    """(N, K, D) each: features that enter later decoder layers (Qwen3-VL's DeepStack)."""

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> SeenPictures:
        """The same with `change` done to every tensor."""
        return SeenPictures(change(self.grid_NKV), change(self.pooled_NP), tuple(change(one) for one in self.deep))


@dataclass(frozen=True)
class PictureFeatures:
    """Pictures as the decoder takes them."""

    tokens_NKD: torch.Tensor
    """K tokens a picture, in the decoder's width."""
    pooled_NP: torch.Tensor
    """The picture as one vector, in a width of its own."""
    deep: tuple[torch.Tensor, ...] = ()
    """(N, K, D) each, as in `SeenPictures`."""


class Backbone(Protocol):
    """An adapter, itself an `nn.Module`: where the vision tower, the decoder layers and their FFN are."""

    hidden_size: int
    vision_size: int
    """Width of the pooled vision signal."""
    ffn_name: str
    """Attribute of a decoder layer that is its FFN."""
    positions: Positions

    def see(self, pixels_NCHW: torch.Tensor) -> SeenPictures:
        """Run the vision tower; pictures do not see each other. No picture at all is allowed."""
        ...

    def project(self, seen: SeenPictures) -> PictureFeatures:
        """Bring what was seen into the decoder's width."""
        ...

    def embed_tokens(self, ids_BL: torch.Tensor) -> torch.Tensor:
        """The decoder's own token embeddings, (B, L, D)."""
        ...

    def decode(
        self,
        embeds_BLD: torch.Tensor,
        mask_BL: torch.Tensor,
        positions_3BL: torch.Tensor,
        picture_mask_BL: torch.Tensor,
        deep: tuple[torch.Tensor, ...],
    ) -> torch.Tensor:
        """Run the decoder.

        Args:
            embeds_BLD: Token embeddings with the pictures' tokens in their places.
            mask_BL: True where a token stands.
            positions_3BL: Time, row and column; a sequential backbone takes the first.
            picture_mask_BL: True where a picture's token stands.
            deep: (S, K, D) each, picture slots in the order of the sequences.

        Returns:
            (B, L, D) hidden states after the final norm.
        """
        ...

    def decoder_layers(self) -> nn.ModuleList:
        """The decoder's layers; each has its FFN as the attribute `ffn_name`."""
        ...

    def vision_parameters(self) -> list[nn.Parameter]:
        """The parameters of the vision tower, which learn at their own rate."""
        ...

    def spec(self) -> dict[str, Any]:
        """JSON from which the architecture is built again without its weights."""
        ...
