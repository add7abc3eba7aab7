"""What an FFN makes of a few tokens, asked before experts are built on it: its numbers tell more than its names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SCALES = (0.1, 1.0, 10.0)
"""Standard deviation of each probing token: what an FFN does to small numbers alone, or to large ones, shows too."""


@torch.no_grad()
def probe(ffn: nn.Module, width: int) -> tuple[torch.Tensor, Any] | None:
    """Run an FFN on tokens that are always the same; it is left as it was, and so is torch's global generator.

    Args:
        ffn: Takes (B, L, D).
        width: D.

    Returns:
        The tokens, (1, 3, D), and what the FFN returned in evaluation mode; None where its parameters have no data.
    """
    parameters = list(ffn.parameters())
    if any(one.is_meta for one in parameters):
        return None
    generator = torch.Generator("cpu").manual_seed(0)
    unit_TD = torch.randn((len(SCALES), width), generator=generator, device="cpu", dtype=torch.float32)
    h_TD = unit_TD * torch.tensor(SCALES, device="cpu").unsqueeze(-1)
    h_1TD = h_TD.unsqueeze(0).to(parameters[0].device, parameters[0].dtype)
    was = [(module, module.training) for module in ffn.modules()]
    ffn.eval()
    try:
        return h_1TD, ffn(h_1TD.clone())
    finally:
        for module, training in was:
            module.training = training
