"""Guided mixture of experts: a decoder FFN becomes experts that the token's type and a router choose among.

Two ways to combine them, with c and a the masks of CATEGORY and ATTRIBUTE tokens, f_z the routed experts and G_z the
renormalised gates of the top k:

    switch    y = c E'(h) + a E''(h) + (1 - c - a) sum_topk G_z(h) f_z(h)
    additive  y = sum_topk G_z(h) f_z(h) + c E'(h) + a E''(h)

Upcycled: at step 0 each computes what the dense FFN f_0 computed. Routed experts start as f_0 and their gates sum to
one; E' and E'' start as f_0 under `switch` and at zero under `additive`.

Source: MOON, arXiv 2508.11999. The paper leaves open the number of experts, k, the layers and the combination rule;
upcycling and renormalised gates are our choice (Komatsuzaki et al., arXiv 2212.05055; Mixtral, arXiv 2401.04088).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from models.config import MoeConfig
from models.tokens import TokenType


@dataclass
class RouterStats:
    prob_sum_E: torch.Tensor
    count_E: torch.Tensor
    z_sum: torch.Tensor
    num_tokens: torch.Tensor

    def __add__(self, o):
        return RouterStats(*(a + b for a, b in zip(self.tensors(), o.tensors())))

    def tensors(self):
        return (self.prob_sum_E, self.count_E, self.z_sum, self.num_tokens)

    @classmethod
    def of_tensors(cls, t):
        return [cls(*t[i : i + 4]) for i in range(0, len(t), 4)]


def aux_loss(stats, config):
    out = []
    for s in stats:
        n = s.num_tokens.clamp(min=1)
        e = len(s.prob_sum_E)
        out.append(config.load_balance_weight * e * ((s.count_E / s.count_E.sum().clamp(min=1)) * s.prob_sum_E / n).sum() + config.router_z_weight * s.z_sum / n)
    return torch.stack(out).sum() if out else torch.zeros(())


class TypesInView:
    """Hands the token types to FFNs deep inside a stock decoder, whose layers pass them nothing but hidden states."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def showing(self, types_BL: torch.Tensor) -> Iterator[None]:
        self._local.types = types_BL
        try:
            yield
        finally:
            self._local.types = None

    def get(self) -> torch.Tensor:
        """(B, L) token types of the forward pass that this thread is in."""
        types = getattr(self._local, "types", None)
        assert types is not None, "a guided MoE layer ran outside MoonModel.forward"
        return types


class LowRankChange(nn.Module):
    """B A h, starting at zero: what a low-rank expert adds to the shared FFN."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, h_TD: torch.Tensor) -> torch.Tensor:
        return self.up(F.silu(self.down(h_TD)))


class GuidedMoe(nn.Module):
    """Takes the place of `ffn` in a decoder layer.

    Args:
        ffn: The dense FFN f_0; copied, and kept as the shared part of low-rank experts.
        width: Width of the hidden states.
        config: Number, kind and combination of experts.
        in_view: Where the token types of the running batch are found.
    """

    def __init__(self, ffn: nn.Module, width: int, config: MoeConfig, in_view: TypesInView) -> None:
        super().__init__()
        self.config, self.in_view = config, in_view
        self.router = nn.Linear(width, config.num_experts, bias=False)
        nn.init.normal_(self.router.weight, std=0.02)
        low_rank = config.expert == "low_rank"
        self.shared: nn.Module | None = ffn if low_rank else None

        def make(starts_at_zero: bool) -> nn.Module:
            if low_rank:
                return LowRankChange(width, config.rank)
            expert = copy.deepcopy(ffn)
            if starts_at_zero:
                last = expert.get_submodule("down_proj")
                assert isinstance(last, nn.Linear)
                nn.init.zeros_(last.weight)
            return expert

        self.experts = nn.ModuleList(make(False) for _ in range(config.num_experts))
        additive = config.combination == "additive"
        self.category_expert, self.attribute_expert = make(additive), make(additive)
        self.load: torch.Tensor
        """Choices by token type and expert since the counters were last cleared; training mode only."""
        self.register_buffer("load", torch.zeros(len(TokenType), config.num_experts), persistent=False)
        self.aux_loss: torch.Tensor | None = None
        """Weighted balance and z-loss of the latest forward pass in training mode."""

    def take_stats(self):
        st, self.st = self.st, None
        return st

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        """(B, L, D) to (B, L, D); padding stays zero and costs nothing."""
        types_BL = self.in_view.get()
        present_BL = types_BL != TokenType.PAD
        y_TD = self._mix(h_BLD[present_BL], types_BL[present_BL])
        return torch.zeros_like(h_BLD).masked_scatter(present_BL.unsqueeze(-1), y_TD.to(h_BLD.dtype))

    def _mix(self, h_TD: torch.Tensor, types_T: torch.Tensor) -> torch.Tensor:
        category_T, attribute_T = types_T == TokenType.CATEGORY, types_T == TokenType.ATTRIBUTE
        switch = self.config.combination == "switch"
        routed_T = (
            (~(category_T | attribute_T)).nonzero().squeeze(-1)
            if switch
            else torch.arange(len(h_TD), device=h_TD.device)
        )
        y_TD = self.shared(h_TD) if self.shared is not None else torch.zeros_like(h_TD)
        y_TD = y_TD.index_add(0, routed_T, self._routed(h_TD[routed_T], types_T[routed_T]).to(y_TD.dtype))
        for chosen_T, expert in ((category_T, self.category_expert), (attribute_T, self.attribute_expert)):
            rows = chosen_T.nonzero().squeeze(-1)
            if len(rows):
                y_TD = y_TD.index_add(0, rows, expert(h_TD[rows]).to(y_TD.dtype))
        return y_TD

    def _routed(self, h_TD: torch.Tensor, types_T: torch.Tensor) -> torch.Tensor:
        """sum over the top k of G_z(h) f_z(h); tokens sorted by expert, one product an expert."""
        # The router decides between near-equal numbers: in bf16 it would toss coins.
        with torch.autocast(h_TD.device.type, enabled=False):
            logits_TE = F.linear(h_TD.float(), self.router.weight.float())
            probs_TE = logits_TE.softmax(dim=-1)
            gate_TK, expert_TK = probs_TE.topk(self.config.top_k, dim=-1)
            gate_TK = gate_TK / gate_TK.sum(dim=-1, keepdim=True)
        if self.training:
            self._count(logits_TE, probs_TE, expert_TK, types_T)
        order_P = expert_TK.flatten().argsort(stable=True)
        token_P = order_P // self.config.top_k
        counts = torch.bincount(expert_TK.flatten(), minlength=self.config.num_experts).tolist()
        inputs = h_TD[token_P].split(counts)
        outputs = [expert(x) for expert, x in zip(self.experts, inputs, strict=True) if len(x)]
        if not outputs:
            return torch.zeros_like(h_TD)
        out_PD = torch.cat(outputs)
        out_PD = out_PD * gate_TK.flatten()[order_P].unsqueeze(-1).to(out_PD.dtype)
        return torch.zeros_like(h_TD, dtype=out_PD.dtype).index_add(0, token_P, out_PD)

    def _count(
        self, logits_TE: torch.Tensor, probs_TE: torch.Tensor, expert_TK: torch.Tensor, types_T: torch.Tensor
    ) -> None:
        chosen_TE = torch.zeros_like(probs_TE).scatter_(1, expert_TK, 1.0)
        self.load.index_add_(0, types_T, chosen_TE.detach())
        balance = load_balance_loss(probs_TE, chosen_TE)
        z = logits_TE.logsumexp(dim=-1).square().mean() if len(logits_TE) else logits_TE.sum()
        st = RouterStats(probs_TE.sum(0), chosen_TE.sum(0).detach(), logits_TE.logsumexp(-1).square().sum(), torch.tensor(float(len(logits_TE))))
        self.st = st if getattr(self, "st", None) is None else self.st + st
        self.aux_loss = self.config.load_balance_weight * balance + self.config.router_z_weight * z


def load_balance_loss(probs_TE: torch.Tensor, chosen_TE: torch.Tensor) -> torch.Tensor:
    """E * sum_e f_e P_e, with f_e the share of choices and P_e the mean probability of expert e; 1 when balanced.

    Source: Switch Transformer, arXiv 2101.03961, eq. 4; for k above 1 the choices are divided by k.
    """
    if not len(probs_TE):
        return probs_TE.sum()
    share_E = chosen_TE.mean(dim=0) / chosen_TE.sum(dim=1).mean()
    return probs_TE.shape[1] * (share_E * probs_TE.mean(dim=0)).sum()


def upcycle(
    layers: nn.ModuleList, ffn_name: str, width: int, config: MoeConfig, in_view: TypesInView
) -> list[GuidedMoe]:
    """Replace the FFN of the chosen layers, in place.

    Returns:
        The new modules, in the order of the layers.
    """
    made = []
    for index in sorted({layer % len(layers) for layer in config.layers}):
        layer = layers[index]
        moe = GuidedMoe(getattr(layer, ffn_name), width, config, in_view)
        setattr(layer, ffn_name, moe)
        made.append(moe)
    return made


def expert_load(moes: list[GuidedMoe]) -> dict[str, float]:
    """Share of each expert by token type since the counters were last cleared, in [0, 1]; then clear them."""
    shares: dict[str, float] = {}
    for number, moe in enumerate(moes):
        for kind in TokenType:
            row = moe.load[kind]
            total = float(row.sum())
            if total:
                for expert, value in enumerate(row.tolist()):
                    shares[f"moe_{number}/{kind.name.lower()}/expert_{expert}"] = value / total
        moe.load.zero_()
    return shares
