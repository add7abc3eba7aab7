"""The dense twin: what a guided mixture of experts is to be compared with.

    y = f_0(h) + b(h)

with b a change of the same kind as the experts (low-rank for low-rank ones, SwiGLU for full ones) for every token,
wide enough that the trainable parameters are as many as the mixture's. Without it, an ablation that takes the
mixture out takes capacity out with it. The twin computes more per token than the mixture: all of it is active.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from models.config import MoeConfig
from models.moe.experts import swiglu_of
from models.moe.size import branch_width


class DenseTwin(nn.Module):
    """Takes the place of `ffn` in a decoder layer; equal to it at step 0.

    Args:
        ffn: The dense FFN f_0; kept.
        width: Width of the hidden states.
        config: The mixture whose parameters are matched, within 1 % (see `branch_width` for tiny ones).

    Raises:
        ModelError: Full experts are asked for and the FFN is not a SwiGLU one.
    """

    def __init__(self, ffn: nn.Module, width: int, config: MoeConfig) -> None:
        super().__init__()
        self.shared = ffn
        like = next(ffn.parameters())
        self.branch: nn.Module
        if config.expert == "full":
            parts = swiglu_of(ffn)
            inner, _ = branch_width(config, width, parts.down.in_features)
            self.branch = SwigluBranch(width, inner, like)
            for new, old in ((self.branch.gate_proj, parts.gate), (self.branch.up_proj, parts.up)):
                nn.init.normal_(new.weight, std=_std(old.weight))
        else:
            inner, bias = branch_width(config, width, 0)
            self.branch = LowRankBranch(width, inner, bias, like.device)

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        """(B, L, D) to (B, L, D)."""
        return self.shared(h_BLD) + self.branch(h_BLD)


class LowRankBranch(nn.Module):
    """up(silu(down h)) at zero, float32 as the experts of its kind."""

    def __init__(self, width: int, rank: int, bias: bool, device: torch.device) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False, device=device, dtype=torch.float32)
        self.up = nn.Linear(rank, width, bias=bias, device=device, dtype=torch.float32)
        _zero(self.up)

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        return self.up(F.silu(self.down(h_BLD.to(self.down.weight.dtype)))).to(h_BLD.dtype)


class SwigluBranch(nn.Module):
    """down(silu(gate h) * up h) at zero; new units, because copies of f_0's would never part from them."""

    def __init__(self, width: int, inner: int, like: torch.Tensor) -> None:
        super().__init__()
        linear = partial(nn.Linear, bias=False, device=like.device, dtype=like.dtype)
        self.gate_proj, self.up_proj = linear(width, inner), linear(width, inner)
        self.down_proj = linear(inner, width)
        _zero(self.down_proj)

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(h_BLD)) * self.up_proj(h_BLD))


def _zero(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


def _std(weight: torch.Tensor) -> float:
    """Standard deviation of a matrix; any number where only its shape is there."""
    return 0.02 if weight.is_meta else float(weight.detach().float().std())
