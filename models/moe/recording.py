"""Which experts fired for each token of a forward pass: for looking inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.moe.router import Choice

if TYPE_CHECKING:
    from models.moe.guided import GuidedMoe

NOBODY = -1
"""Stands where no expert of the kind worked on a token."""


@dataclass(frozen=True)
class Fired:
    """The experts of one layer in one forward pass; detached, on the layer's device."""

    expert_BLK: torch.Tensor
    """Routed experts, int64; -1 where the token was not routed: padding, and guided tokens under `switch`."""
    gate_BLK: torch.Tensor
    """Their gates, float32; 0 where there is none."""
    guided_BL: torch.Tensor
    """0 where the category expert worked, 1 where the attribute expert did, else -1."""

    @classmethod
    def at(
        cls,
        shape: torch.Size,
        routed_R: torch.Tensor,
        choice: Choice,
        guided_G: torch.Tensor,
        guide_G: torch.Tensor,
    ) -> Fired:
        """Spread choices over the (B, L) places they were made for.

        Args:
            shape: (B, L).
            routed_R: Places, row by row, of the routed tokens.
            choice: Their experts and gates.
            guided_G: Places of the guided tokens.
            guide_G: Which guided expert worked on them.
        """
        choices = choice.expert_TK.shape[1]
        num_places = shape.numel()
        expert_PK = choice.expert_TK.new_full((num_places, choices), NOBODY)
        gate_PK = choice.gate_TK.new_zeros((num_places, choices))
        guided_P = guide_G.new_full((num_places,), NOBODY)
        expert_PK[routed_R], gate_PK[routed_R] = choice.expert_TK, choice.gate_TK.detach()
        guided_P[guided_G] = guide_G
        return cls(expert_PK.view(*shape, choices), gate_PK.view(*shape, choices), guided_P.view(shape))


@contextmanager
def recording(moes: list[GuidedMoe]) -> Iterator[list[list[Fired]]]:
    """Write down what fires inside the block; one model, one thread.

    Yields:
        One list a layer, in the order of `moes`, which grows by one entry a forward pass.
    """
    layers: list[list[Fired]] = [[] for _ in moes]
    for moe, layer in zip(moes, layers, strict=True):
        assert moe.recorder is None, "two recordings of one layer at once"
        moe.recorder = layer
    try:
        yield layers
    finally:
        for moe in moes:
            moe.recorder = None
