"""E experts of one shape, their weights stacked: two-layer networks, gated (SwiGLU) or not.

    gated:  f_e(h) = W_out,e (silu(g) * u) + b_out,e   with [g; u] = W_in,e h + b_in,e
    plain:  f_e(h) = W_out,e silu(W_in,e h)

Stacked, because one grouped matrix product then does the work of all experts where the device has it, and because the
gradient of all experts is written into one buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from catalog import ModelError
from models.moe.dispatch import mix
from models.moe.probe import probe

SWIGLU_TOLERANCE = 1e-4
"""Of the largest number of a token: float32 that was summed in another order differs by a hundredth of it."""


class Experts(nn.Module):
    """Stacked experts.

    Args:
        w_in_EWD: First matrices; W = 2F where gated, gate rows first, and F where not.
        w_out_EDF: Second matrices.
        b_in_EW: Biases of the first, if any.
        b_out_ED: Biases of the second, if any.
        gated: SwiGLU; else a plain SiLU.
    """

    def __init__(
        self,
        w_in_EWD: torch.Tensor,
        w_out_EDF: torch.Tensor,
        b_in_EW: torch.Tensor | None = None,
        b_out_ED: torch.Tensor | None = None,
        *,
        gated: bool,
    ) -> None:
        super().__init__()
        self.gated = gated
        self.w_in, self.w_out = nn.Parameter(w_in_EWD), nn.Parameter(w_out_EDF)
        self.b_in = None if b_in_EW is None else nn.Parameter(b_in_EW)
        self.b_out = None if b_out_ED is None else nn.Parameter(b_out_ED)

    def forward(self, h_TD: torch.Tensor, expert_TK: torch.Tensor, gate_TK: torch.Tensor) -> torch.Tensor:
        """sum over k of gate[t, k] * f_expert[t, k](h_t); (T, D)."""
        return mix(h_TD, expert_TK, gate_TK, self.w_in, self.w_out, self.b_in, self.b_out, gated=self.gated)

    def one(self, expert: int, h_TD: torch.Tensor) -> torch.Tensor:
        """What one expert alone makes of the tokens; for looking inside and for tests."""
        pre_TW = F.linear(h_TD, self.w_in[expert], None if self.b_in is None else self.b_in[expert])
        if self.gated:
            gate_TF, up_TF = pre_TW.chunk(2, dim=-1)
            act_TF = F.silu(gate_TF) * up_TF
        else:
            act_TF = F.silu(pre_TW)
        return F.linear(act_TF, self.w_out[expert], None if self.b_out is None else self.b_out[expert])


@dataclass(frozen=True)
class Swiglu:
    """The three matrices of a SwiGLU FFN."""

    gate: nn.Linear
    up: nn.Linear
    down: nn.Linear


def swiglu_of(ffn: nn.Module) -> Swiglu:
    """Find the matrices of a decoder's SwiGLU FFN; tried on a few tokens, because a factor in between has no name.

    Raises:
        ModelError: The FFN is not `down_proj(silu(gate_proj(h)) * up_proj(h))`.
    """
    name = type(ffn).__name__
    parts = [getattr(ffn, part, None) for part in ("gate_proj", "up_proj", "down_proj")]
    gate, up, down = parts
    if not (isinstance(gate, nn.Linear) and isinstance(up, nn.Linear) and isinstance(down, nn.Linear)):
        raise _not_swiglu(name, "no linear gate_proj, up_proj and down_proj")
    known = {id(parameter) for part in (gate, up, down) for parameter in part.parameters()}
    if any(id(parameter) not in known for parameter in ffn.parameters()):
        raise _not_swiglu(name, "parameters beyond gate_proj, up_proj and down_proj")
    for attribute in ("act_fn", "act", "activation_fn"):
        activation = getattr(ffn, attribute, None)
        if callable(activation) and not _is_silu(activation):
            raise _not_swiglu(name, f"the activation {type(activation).__name__}")
    found = Swiglu(gate, up, down)
    off = _difference(ffn, found)
    if off > max(SWIGLU_TOLERANCE, 8 * torch.finfo(gate.weight.dtype).eps):
        raise _not_swiglu(name, f"outputs that differ from that by {off:.1g} of their size, such as by multipliers")
    return found


def full_experts(ffn: nn.Module, num: int, scale: float = 1.0, noise_std: float = 0.0) -> Experts:
    """`num` copies of a SwiGLU FFN.

    Args:
        ffn: The FFN; left as it is.
        num: Number of copies.
        scale: What each copy's output starts multiplied with.
        noise_std: Noise on every copy, in standard deviations of the matrix it is added to.

    Raises:
        ModelError: The FFN has another shape.
    """
    parts = swiglu_of(ffn)
    with torch.no_grad():
        w_in_EWD = _stack([parts.gate.weight, parts.up.weight], num)
        w_out_EDF = _stack([parts.down.weight], num)
        for stacked in (w_in_EWD, w_out_EDF) if noise_std and not w_in_EWD.is_meta else ():
            stacked.add_(torch.randn_like(stacked), alpha=noise_std * float(stacked[0].std()))
        b_in_EW = b_out_ED = None
        if parts.gate.bias is not None or parts.up.bias is not None:
            b_in_EW = _stack([_bias(parts.gate), _bias(parts.up)], num)
        if parts.down.bias is not None:
            b_out_ED = _stack([parts.down.bias], num).mul_(scale)
        return Experts(w_in_EWD, w_out_EDF.mul_(scale), b_in_EW, b_out_ED, gated=True)


def low_rank_experts(num: int, width: int, rank: int, device: torch.device | None = None) -> Experts:
    """`num` changes up(silu(down h)) of rank `rank`, float32, starting at zero and different inside."""
    down_ERD = torch.empty(num, rank, width, device=device, dtype=torch.float32)
    bound = width**-0.5  # as nn.Linear starts
    nn.init.uniform_(down_ERD, -bound, bound)
    return Experts(down_ERD, torch.zeros(num, width, rank, device=device, dtype=torch.float32), gated=False)


def halve(ffn: nn.Module) -> nn.Module:
    """Halve the output of a SwiGLU FFN, in place; exact, because 2 is the base of floating point."""
    down = swiglu_of(ffn).down
    with torch.no_grad():
        down.weight.mul_(0.5)
        if down.bias is not None:
            down.bias.mul_(0.5)
    return ffn


def _stack(parts: list[torch.Tensor], num: int) -> torch.Tensor:
    one = torch.cat([part.detach() for part in parts])
    return one.expand(num, *one.shape).clone(memory_format=torch.contiguous_format)


def _bias(linear: nn.Linear) -> torch.Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias


@torch.no_grad()
def _difference(ffn: nn.Module, parts: Swiglu) -> float:
    """Largest difference between an FFN and the SwiGLU of its matrices, by the largest number of a token; 0 on meta."""
    tried = probe(ffn, parts.gate.in_features)
    if tried is None:
        return 0.0
    h_1TD, got_1TD = tried
    if not isinstance(got_1TD, torch.Tensor):
        return float("inf")
    wanted_1TD = parts.down(F.silu(parts.gate(h_1TD)) * parts.up(h_1TD)).float()
    off_1T = (got_1TD.float() - wanted_1TD).abs().amax(dim=-1)
    # An FFN that starts at zero is one too.
    return float((off_1T / wanted_1TD.abs().amax(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)).max())


def _is_silu(activation: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    points = torch.linspace(-4.0, 4.0, 9, device="cpu", dtype=torch.float32)
    return torch.allclose(activation(points), F.silu(points), atol=1e-5)


def _not_swiglu(name: str, got: str) -> ModelError:
    return ModelError(
        "full experts need a SwiGLU FFN to start from",
        where=f"model.moe.expert, decoder FFN of class {name}",
        got=got,
        allowed="down_proj(silu(gate_proj(h)) * up_proj(h)), as in Llama and Qwen",
        fix="model.moe.expert: low_rank, which works beside any FFN",
    )
