"""The router: which experts work on a token, and with what weight.

    logits(t) = W h_t + b[type of t] + V mean(h of the category tokens and slot of t's sequence)

b and V start at zero: guidance begins without effect and grows only where it helps. The mean is over the whole
sequence, to the right of t as well: embeddings are computed once from complete sequences, so nothing is leaked.

Deviation from MOON, arXiv 2508.11999, which routes by the token alone: the router shall know what kind of word or
picture a token is, and what kind of product it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from models.config import MoeConfig
from models.tokens import CATEGORY_TYPES, TokenType

INIT_STD = 0.02


@dataclass(frozen=True)
class Choice:
    """Experts of T tokens, K each; everything float32."""

    logits_TE: torch.Tensor
    probs_TE: torch.Tensor
    expert_TK: torch.Tensor
    """int64."""
    gate_TK: torch.Tensor
    """Weights of the chosen experts; sum to one."""


class Router(nn.Module):
    """Linear router over hidden states, with guidance.

    Args:
        width: Width of the hidden states.
        config: Experts, top_k, noise and guidance.
        device: Where the parameters are made; float32 whatever the decoder's dtype, because the router decides
            between near-equal numbers: in bf16 it would toss coins.
    """

    def __init__(self, width: int, config: MoeConfig, device: torch.device | None = None) -> None:
        super().__init__()
        self.top_k, self.noise_std = config.top_k, config.router_noise_std
        self.weight = nn.Parameter(torch.empty(config.num_experts, width, device=device, dtype=torch.float32))
        nn.init.normal_(self.weight, std=INIT_STD)
        self.type_bias: nn.Parameter | None = None
        self.category_weight: nn.Parameter | None = None
        if config.router_guidance in ("type", "both"):
            self.type_bias = nn.Parameter(torch.zeros(len(TokenType), config.num_experts, device=device))
        if config.router_guidance in ("category", "both"):
            self.category_weight = nn.Parameter(torch.zeros(config.num_experts, width, device=device))

    def forward(
        self,
        h_TD: torch.Tensor,
        types_T: torch.Tensor,
        row_T: torch.Tensor | None = None,
        category_BD: torch.Tensor | None = None,
    ) -> Choice:
        """Choose experts.

        Noise moves the choice alone: gates and losses come from the logits without it, as in evaluation. With a
        top_k of 1 the renormalised gate is 1 and would teach the router nothing: there it has the value 1 and the
        gradient of log p, so that upcycling stays exact and the router learns.

        Args:
            h_TD: Tokens to route.
            types_T: Their types.
            row_T: The sequence each belongs to.
            category_BD: `category_of_rows`; needed where guidance asks for it.
        """
        with torch.autocast(h_TD.device.type, enabled=False):
            logits_TE = F.linear(h_TD.float(), self.weight.float())
            if self.type_bias is not None:
                logits_TE = logits_TE + self.type_bias.float()[types_T]
            if self.category_weight is not None:
                assert row_T is not None
                assert category_BD is not None
                of_row_BE = F.linear(category_BD.float(), self.category_weight.float())
                logits_TE = logits_TE + of_row_BE.index_select(0, row_T)
            probs_TE = logits_TE.softmax(dim=-1)
            judged_TE = probs_TE.detach()
            if self.training and self.noise_std:
                judged_TE = logits_TE.detach() + self.noise_std * torch.randn_like(logits_TE)
            expert_TK = judged_TE.topk(self.top_k, dim=-1).indices
            gate_TK = probs_TE.gather(1, expert_TK)
            total_T1 = gate_TK.sum(dim=-1, keepdim=True)
            gate_TK = gate_TK / (total_T1.detach() if self.top_k == 1 else total_T1)
        return Choice(logits_TE, probs_TE, expert_TK, gate_TK)


def category_of_rows(h_TD: torch.Tensor, types_T: torch.Tensor, row_T: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Mean hidden state of the category tokens and slot of each sequence.

    Args:
        h_TD: Tokens.
        types_T: Their types.
        row_T: The sequence each belongs to.
        num_rows: Number of sequences.

    Returns:
        (num_rows, D) float32; zero where a sequence has no such token.
    """
    names_category_T = torch.zeros_like(types_T, dtype=torch.bool)
    for kind in CATEGORY_TYPES:
        names_category_T = names_category_T | (types_T == kind)
    places = names_category_T.nonzero().squeeze(-1)
    if not len(places):
        return h_TD.new_zeros((num_rows, h_TD.shape[1]), dtype=torch.float32)
    row_P = row_T.index_select(0, places)
    sums_BD = h_TD.new_zeros((num_rows, h_TD.shape[1]), dtype=torch.float32)
    sums_BD = sums_BD.index_add(0, row_P, h_TD.index_select(0, places).float())
    counts_B = torch.bincount(row_P, minlength=num_rows).clamp(min=1)
    return sums_BD / counts_B.unsqueeze(-1)
