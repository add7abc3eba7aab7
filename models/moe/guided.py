"""Guided mixture of experts: a decoder FFN becomes experts that the token's type and a router choose among.

Two ways to combine them, with c and a the masks of category and attribute tokens (their slots included), E' and E''
the category and the attribute expert, f_z the routed experts, G_z the renormalised gates of the top k, and s the
shared part, if there is one:

    switch    y = s(h) + c E'(h) + a E''(h) + (1 - c - a) sum_topk G_z(h) f_z(h)
    additive  y = s(h) + sum_topk G_z(h) f_z(h) + c E'(h) + a E''(h)

Upcycled: at step 0 each computes what the dense FFN f_0 computed. With scale = 1/2 beside a shared expert, else 1:

    full      s = f_0 / 2 or nothing; f_z = scale f_0; E' = E'' = scale f_0 under switch, 0 under additive
    low rank  s = f_0; f_z = E' = E'' = 0, as changes B silu(A h) with B = 0

Halves, rather than a whole shared expert beside routed ones at zero: all of them start with live gradients.

Source: MOON, arXiv 2508.11999. The paper leaves open the number of experts, k, the layers and the combination rule;
upcycling and renormalised gates are our choice (Komatsuzaki et al., arXiv 2212.05055; Mixtral, arXiv 2401.04088; a
shared expert: DeepSeekMoE, arXiv 2401.06066). That slots join the category and attribute tokens is ours too: a query
has none of the latter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.config import MoeConfig
from models.moe.experts import full_experts, halve, low_rank_experts
from models.moe.in_view import TypesInView
from models.moe.recording import Fired
from models.moe.router import Choice, Router, category_of_rows
from models.moe.stats import RouterStats
from models.tokens import ATTRIBUTE_TYPES, CATEGORY_TYPES, TokenType

CATEGORY_EXPERT, ATTRIBUTE_EXPERT = 0, 1
"""Places of E' and E'' in `GuidedMoe.guided`."""


class GuidedMoe(nn.Module):
    """Takes the place of `ffn` in a decoder layer.

    Args:
        ffn: The dense FFN f_0. Given away: it becomes the shared part where there is one.
        width: Width of the hidden states.
        config: Number, kind and combination of experts.
        in_view: Where the token types of the running batch are found.

    Raises:
        ModelError: Full experts are asked for and the FFN is not a SwiGLU one.
    """

    def __init__(self, ffn: nn.Module, width: int, config: MoeConfig, in_view: TypesInView) -> None:
        super().__init__()
        self.config, self.in_view = config, in_view
        device = next(ffn.parameters()).device
        self.router = Router(width, config, device)
        self.shared: nn.Module | None = None
        if config.expert == "low_rank":
            self.experts = low_rank_experts(config.num_experts, width, config.rank, device)
            self.guided = low_rank_experts(2, width, config.rank, device)
            self.shared = ffn
        else:
            scale = 0.5 if config.shared_expert else 1.0
            self.experts = full_experts(ffn, config.num_experts, scale, config.init_noise_std)
            self.guided = full_experts(ffn, 2, scale if config.combination == "switch" else 0.0)
            self.shared = halve(ffn) if config.shared_expert else None
        self.load = torch.zeros(len(TokenType), config.num_experts, dtype=torch.int64, device="cpu")
        """Choices by token type and expert since the counters were last cleared; training with gradient only."""
        self.recorder: list[Fired] | None = None
        """Where `recording` wants this layer's choices; None outside it."""
        self._stats: list[RouterStats] = []

    def __getstate__(self) -> dict[str, Any]:
        # A copy (a moving average, a worker's model) starts without the graph of the original's last pass.
        return {**self.__dict__, "_stats": [], "recorder": None}

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        """(B, L, D) to (B, L, D); padding stays zero and costs nothing."""
        types_BL = self.in_view.get()
        width = h_BLD.shape[-1]
        place_T = (types_BL != TokenType.PAD).flatten().nonzero().squeeze(-1)
        if len(place_T) == types_BL.numel():
            return self._mix(h_BLD.reshape(-1, width), types_BL, place_T).view(h_BLD.shape).to(h_BLD.dtype)
        # Left out for good: what an attention made of padding may be anything, NaN included.
        y_TD = self._mix(h_BLD.reshape(-1, width).index_select(0, place_T), types_BL, place_T)
        y_PD = y_TD.new_zeros((types_BL.numel(), width)).index_copy(0, place_T, y_TD)
        return y_PD.view(h_BLD.shape).to(h_BLD.dtype)

    def take_stats(self) -> RouterStats:
        """What the router did in training mode since this was last called, all passes together."""
        taken, self._stats = self._stats, []
        total = RouterStats.none(self.config.num_experts, self.router.weight.device)
        for stats in taken:
            total = total + stats
        return total

    def _mix(self, h_TD: torch.Tensor, types_BL: torch.Tensor, place_T: torch.Tensor) -> torch.Tensor:
        types_T = types_BL.flatten().index_select(0, place_T)
        category_T, attribute_T = _is_any(types_T, CATEGORY_TYPES), _is_any(types_T, ATTRIBUTE_TYPES)
        guided_G = (category_T | attribute_T).nonzero().squeeze(-1)
        expert_G1 = attribute_T.index_select(0, guided_G).long().unsqueeze(-1)
        row_T = category_BD = None
        if self.router.category_weight is not None:
            row_T = place_T // types_BL.shape[1]
            category_BD = category_of_rows(h_TD, types_T, row_T, len(types_BL))

        if self.config.combination == "switch":
            routed_R = (~(category_T | attribute_T)).nonzero().squeeze(-1)
            h_RD, types_R = h_TD.index_select(0, routed_R), types_T.index_select(0, routed_R)
            row_R = None if row_T is None else row_T.index_select(0, routed_R)
            choice = self._route(h_RD, types_R, row_R, category_BD)
            part_RD = self.experts(h_RD, choice.expert_TK, choice.gate_TK)
            y_TD = part_RD.new_zeros((len(h_TD), part_RD.shape[1])).index_copy(0, routed_R, part_RD)
        else:
            routed_R = torch.arange(len(h_TD), device=h_TD.device)
            choice = self._route(h_TD, types_T, row_T, category_BD)
            y_TD = self.experts(h_TD, choice.expert_TK, choice.gate_TK)

        # Run without tokens too: a parameter that a step leaves out of the graph stops distributed training.
        gate_G1 = torch.ones_like(expert_G1, dtype=choice.gate_TK.dtype)
        h_GD = h_TD.index_select(0, guided_G) if len(guided_G) else h_TD.new_zeros((0, h_TD.shape[1]))
        y_TD.index_add_(0, guided_G, self.guided(h_GD, expert_G1, gate_G1).to(y_TD.dtype))
        if self.shared is not None:
            # As one sequence: an FFN that is a mixture of experts itself takes no bare list of tokens.
            y_TD = y_TD + self.shared(h_TD.unsqueeze(0)).squeeze(0)
        if self.recorder is not None and not self.in_view.again:
            fired = Fired.at(types_BL.shape, place_T[routed_R], choice, place_T[guided_G], expert_G1.squeeze(-1))
            self.recorder.append(fired)
        return y_TD

    def _route(
        self,
        h_RD: torch.Tensor,
        types_R: torch.Tensor,
        row_R: torch.Tensor | None,
        category_BD: torch.Tensor | None,
    ) -> Choice:
        choice = self.router(h_RD, types_R, row_R, category_BD)
        if self.training:
            # Worked out on a second run as well: checkpointing compares what the two runs keep.
            num_experts = self.config.num_experts
            cell_RK = types_R.unsqueeze(-1) * num_experts + choice.expert_TK
            load = torch.bincount(cell_RK.flatten(), minlength=self.load.numel()).view(self.load.shape)
            z_sum = choice.logits_TE.logsumexp(dim=-1).square().sum()
            num_tokens = torch.tensor(len(h_RD), device=load.device)
            stats = RouterStats(choice.probs_TE.sum(dim=0), load.sum(dim=0), z_sum, num_tokens)
            if not self.in_view.again:
                self._stats.append(stats)
                if torch.is_grad_enabled():  # of a gradient cache's two passes, the second
                    self.load = self.load.to(load.device) + load
        return choice


def _is_any(types_T: torch.Tensor, kinds: tuple[TokenType, ...]) -> torch.Tensor:
    found_T = types_T == kinds[0]
    for kind in kinds[1:]:
        found_T = found_T | (types_T == kind)
    return found_T
