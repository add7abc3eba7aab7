"""Which experts worked on an item's tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.encoder import MoonEncoder
from models.inside.shown import Shown
from models.moe import recording
from models.tokens import TokenType

GUIDES = ("category", "attribute")
"""Names of the guided experts, in the order of `Fired.guided_BL`."""


@dataclass(frozen=True)
class LayerExperts:
    """The experts of one guided layer while one item passed."""

    layer: int
    """Number of the guided layer among the guided ones, from 0."""
    kinds: tuple[TokenType, ...]
    """Token types of the item, in the order of the rows."""
    num_tokens: tuple[int, ...]
    """Positions of each type."""
    share_KE: np.ndarray
    """(types, experts) mean gate of each routed expert over the type's tokens; rows sum to one, or to zero where the
    type was not routed."""
    guides: tuple[str, ...]
    """Guided expert that worked on each type: `category`, `attribute`, or empty."""


@torch.no_grad()
def experts_fired(encoder: MoonEncoder, shown: Shown) -> tuple[LayerExperts, ...]:
    """Pass an item through the model and say which experts worked on its tokens; () for a dense model."""
    model = encoder.model
    if not model.moes:
        return ()
    batch = shown.batch(encoder.processor, encoder.processor.pixels(shown.encoded.squares)).to(encoder.device)
    with recording(model.moes) as layers:
        model(batch)
    kinds_L = batch.types_BL[0].cpu()
    kinds = tuple(kind for kind in TokenType if kind is not TokenType.PAD and bool((kinds_L == kind).any()))
    found = []
    for number, (moe, passes) in enumerate(zip(model.moes, layers, strict=True)):
        fired = passes[-1]
        expert_LK, gate_LK, guided_L = (one[0].cpu() for one in (fired.expert_BLK, fired.gate_BLK, fired.guided_BL))
        gates_LE = torch.zeros(len(kinds_L), moe.config.num_experts)
        # A token that was not routed has expert -1 and gate 0; it adds nothing to expert 0.
        gates_LE.scatter_add_(1, expert_LK.clamp(min=0), gate_LK)
        guides = []
        for kind in kinds:
            guide = int(guided_L[kinds_L == kind].max())
            guides.append(GUIDES[guide] if guide >= 0 else "")
        found.append(
            LayerExperts(
                layer=number,
                kinds=kinds,
                num_tokens=tuple(int((kinds_L == kind).sum()) for kind in kinds),
                share_KE=torch.stack([gates_LE[kinds_L == kind].mean(dim=0) for kind in kinds]).numpy(),
                guides=tuple(guides),
            )
        )
    return tuple(found)
