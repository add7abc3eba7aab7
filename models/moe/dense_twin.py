"""The dense twin: what a guided mixture of experts is to be compared with.

    low rank                    y = f_0(h) + up(silu(down h))      as low-rank experts stand beside the shared FFN
    full, with a shared expert  y = f_0(h) + b(h)                  b a SwiGLU
    full, without               y = b(h)                           b a SwiGLU whose first units are those of f_0

wide enough that the trainable parameters are as many as the mixture's, whether the shared part learns or stays.
Without it, an ablation that takes the mixture out takes capacity out with it. The twin computes more per token than
the mixture: all of it is active. At step 0 it is f_0, because the second matrix of every new unit is zero; what
enters a new unit is drawn anew, because copies of f_0's units would never part from them.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from models.config import MoeConfig
from models.moe.experts import Swiglu, swiglu_of
from models.moe.size import branch_width, has_shared_part


class DenseTwin(nn.Module):
    """Takes the place of `ffn` in a decoder layer; equal to it at step 0.

    Args:
        ffn: The dense FFN f_0. Given away: it becomes the shared part where there is one.
        width: Width of the hidden states.
        config: The mixture whose parameters are matched, within 1 % (see `branch_width` for tiny ones).

    Raises:
        ModelError: Full experts are asked for and the FFN is not a SwiGLU one.
    """

    def __init__(self, ffn: nn.Module, width: int, config: MoeConfig) -> None:
        super().__init__()
        self.shared = ffn if has_shared_part(config) else None
        self.branch: nn.Module
        if config.expert == "full":
            parts = swiglu_of(ffn)
            inner, _ = branch_width(config, width, parts.down.in_features)
            self.branch = WiderSwiglu(parts, inner, keeps=self.shared is None)
        else:
            inner, bias = branch_width(config, width, 0)
            self.branch = LowRankBranch(width, inner, bias, next(ffn.parameters()).device)

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        """(B, L, D) to (B, L, D)."""
        y_BLD = self.branch(h_BLD)
        return y_BLD if self.shared is None else self.shared(h_BLD) + y_BLD


class LowRankBranch(nn.Module):
    """up(silu(down h)) at zero, float32 as the experts of its kind."""

    def __init__(self, width: int, rank: int, bias: bool, device: torch.device) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False, device=device, dtype=torch.float32)
        self.up = nn.Linear(rank, width, bias=bias, device=device, dtype=torch.float32)
        nn.init.zeros_(self.up.weight)
        if bias:
            nn.init.zeros_(self.up.bias)

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        return self.up(F.silu(self.down(h_BLD.to(self.down.weight.dtype)))).to(h_BLD.dtype)


class WiderSwiglu(nn.Module):
    """down(silu(gate h) * up h) of `inner` units, in the dtype of those it is made from.

    Args:
        parts: The FFN it starts from; left as it is.
        inner: Units.
        keeps: The first units are the FFN's own, and its biases stay; else all are new and there are none.
    """

    def __init__(self, parts: Swiglu, inner: int, keeps: bool) -> None:
        super().__init__()
        self.gate_proj = _widened(parts.gate, inner, keeps)
        self.up_proj = _widened(parts.up, inner, keeps)
        down = parts.down
        bias = keeps and down.bias is not None
        like = {"device": down.weight.device, "dtype": down.weight.dtype}
        self.down_proj = nn.Linear(inner, down.out_features, bias, **like)
        nn.init.zeros_(self.down_proj.weight)
        if keeps:
            _copy(down.weight, self.down_proj.weight[:, : down.in_features])
        if bias:
            _copy(down.bias, self.down_proj.bias)

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(h_BLD)) * self.up_proj(h_BLD))


def _widened(old: nn.Linear, inner: int, keeps: bool) -> nn.Linear:
    """A matrix of `inner` rows, spread as the old one's; the old rows first where they are kept."""
    bias = keeps and old.bias is not None
    new = nn.Linear(old.in_features, inner, bias, device=old.weight.device, dtype=old.weight.dtype)
    nn.init.normal_(new.weight, std=0.02 if old.weight.is_meta else float(old.weight.detach().float().std()))
    if keeps:
        _copy(old.weight, new.weight[: old.out_features])
    if bias:
        nn.init.zeros_(new.bias)
        _copy(old.bias, new.bias[: old.out_features])
    return new


@torch.no_grad()
def _copy(source: torch.Tensor, target: torch.Tensor) -> None:
    target.copy_(source)
