"""Small guided layers for tests, and the formulas of their docstring worked out one token at a time."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from models.config import MoeConfig
from models.moe import GuidedMoe, TypesInView
from models.tokens import ATTRIBUTE_TYPES, CATEGORY_TYPES, TokenType

WIDTH, INNER = 12, 20
FORMS: list[dict[str, Any]] = [
    {"combination": combination, **kind, "router_guidance": guidance}
    for combination, kind, guidance in product(
        ("switch", "additive"),
        ({"expert": "full"}, {"expert": "full", "shared_expert": True}, {"expert": "low_rank"}),
        ("none", "type", "category", "both"),
    )
]
"""Every combination, kind of expert, shared expert and guidance."""


def name_of(form: dict[str, Any]) -> str:
    """The form as a test's name."""
    shared = "+shared" if form.get("shared_expert") else ""
    return f"{form['combination']}-{form['expert']}{shared}-{form['router_guidance']}"


class Ffn(nn.Module):
    """A SwiGLU FFN with the decoder's names."""

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, INNER, bias=bias)
        self.up_proj = nn.Linear(WIDTH, INNER, bias=bias)
        self.down_proj = nn.Linear(INNER, WIDTH, bias=bias)
        self.act_fn = nn.SiLU()

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(h)) * self.up_proj(h))


def make(form: dict[str, Any], bias: bool = False, **more: Any) -> tuple[Ffn, GuidedMoe, TypesInView]:
    """A dense FFN, the guided layer made of a copy of it, and the layer's view of token types."""
    torch.manual_seed(3)
    options = {"num_experts": 4, "top_k": 2, "rank": 5, **form, **more}
    dense, in_view = Ffn(bias), TypesInView()
    return dense, GuidedMoe(copy.deepcopy(dense), WIDTH, MoeConfig.model_validate(options), in_view), in_view


def shake(moe: nn.Module, seed: int = 5) -> None:
    """Move every weight off its start, so that the experts differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in moe.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def some_types() -> torch.Tensor:
    """(2, 8): every type of token, padding first in one row and last in the other."""
    kinds = [
        TokenType.IMAGE,
        TokenType.TITLE,
        TokenType.CATEGORY,
        TokenType.ATTRIBUTE,
        TokenType.OTHER,
        TokenType.CATEGORY_SLOT,
        TokenType.ATTRIBUTE_SLOT,
        TokenType.PAD,
    ]
    return torch.tensor([[int(kind) for kind in kinds], [int(kind) for kind in reversed(kinds)]])


def one_expert(moe: GuidedMoe, guided: bool, number: int, h: torch.Tensor) -> torch.Tensor:
    """One expert on one token, from its matrices alone."""
    stack = moe.guided if guided else moe.experts
    inner = stack.w_in[number] @ h
    if stack.b_in is not None:
        inner = inner + stack.b_in[number]
    if moe.config.expert == "full":
        gate, up = inner[: len(inner) // 2], inner[len(inner) // 2 :]
        inner = gate * torch.sigmoid(gate) * up
    else:
        inner = inner * torch.sigmoid(inner)
    out = stack.w_out[number] @ inner
    return out if stack.b_out is None else out + stack.b_out[number]


def naive(moe: GuidedMoe, h_BLD: torch.Tensor, types_BL: torch.Tensor) -> torch.Tensor:
    """The guided layer, one token at a time, without noise."""
    rows = []
    for h_LD, types_L in zip(h_BLD, types_BL, strict=True):
        category = [h for h, kind in zip(h_LD, types_L.tolist(), strict=True) if kind in CATEGORY_TYPES]
        of_row = torch.stack(category).mean(dim=0) if category else torch.zeros(h_LD.shape[1])
        for h, kind in zip(h_LD, types_L.tolist(), strict=True):
            if kind == TokenType.PAD:
                rows.append(torch.zeros_like(h))
                continue
            y = moe.shared(h) if moe.shared is not None else torch.zeros_like(h)
            guide = 0 if kind in CATEGORY_TYPES else 1 if kind in ATTRIBUTE_TYPES else None
            if guide is not None:
                y = y + one_expert(moe, True, guide, h)
            if moe.config.combination == "additive" or guide is None:
                logits = F.linear(h, moe.router.weight)
                if moe.router.type_bias is not None:
                    logits = logits + moe.router.type_bias[kind]
                if moe.router.category_weight is not None:
                    logits = logits + moe.router.category_weight @ of_row
                top = logits.exp().topk(moe.config.top_k)
                # A lone gate is 1 and passes on the gradient of its log-probability.
                lone = moe.config.top_k == 1
                probs = logits.softmax(dim=-1)[top.indices]
                gates = 1.0 + probs.log() - probs.log().detach() if lone else top.values / top.values.sum()
                for gate, number in zip(gates, top.indices.tolist(), strict=True):
                    y = y + gate * one_expert(moe, False, number, h)
            rows.append(y)
    return torch.stack(rows).view_as(h_BLD)


def gradients(loss: torch.Tensor, wanted: list[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients, zero where there is none."""
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [torch.zeros_like(one) if got is None else got for one, got in zip(wanted, found, strict=True)]
