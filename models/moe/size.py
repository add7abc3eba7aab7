"""How many parameters a guided layer, or its dense twin, has: known before any of it is made."""

from __future__ import annotations

from models.config import MoeConfig
from models.tokens import TokenType

NUM_GUIDED = 2
"""The category expert and the attribute expert."""


def moe_parameters(config: MoeConfig, hidden: int, ffn: int) -> dict[str, int]:
    """Parameters of ONE layer; times as many as `chosen_layers` gives for all of them.

    Args:
        config: The experts, or the dense twin.
        hidden: Width of the hidden states, D.
        ffn: Inner width of the decoder's SwiGLU FFN, F; without biases.

    Returns:
        total: Everything in the FFN's place. trainable: Without the decoder's own FFN where that stays as the shared
        part of low-rank experts; full experts are trained whole. active: Those that work on a token that is neither
        category nor attribute.
    """
    full = config.expert == "full"
    shared = 3 * hidden * ffn if has_shared_part(config) else 0
    if config.kind == "dense":
        own = _branch_parameters(config, hidden, ffn)
        active = own + shared
    else:
        own = _own_parameters(config, hidden, ffn)
        idle = config.num_experts - config.top_k + NUM_GUIDED
        active = own + shared - idle * _expert_parameters(config, hidden, ffn)
    return {"total": own + shared, "trainable": own + shared if full else own, "active": active}


def has_shared_part(config: MoeConfig) -> bool:
    """Whether the decoder's FFN stays beside the experts."""
    return config.expert == "low_rank" or config.shared_expert


def branch_width(config: MoeConfig, hidden: int, ffn: int) -> tuple[int, bool]:
    """Inner width of the dense twin's branch, and whether it has an output bias, for as many parameters as the mixture
    has besides the shared part.

    The bias is there only to come nearer: the remainder is at most half of `hidden` (low rank), or half a unit of the
    SwiGLU (3 `hidden` / 2), which is within 1 % from 50, or 150, times `hidden` parameters on.
    """
    wanted = _own_parameters(config, hidden, ffn)
    if config.expert == "full":
        return max(1, round(wanted / (3 * hidden))), False
    halves = max(2, round(wanted / hidden))
    return halves // 2, bool(halves % 2)


def _expert_parameters(config: MoeConfig, hidden: int, ffn: int) -> int:
    return 3 * hidden * ffn if config.expert == "full" else 2 * hidden * config.rank


def _own_parameters(config: MoeConfig, hidden: int, ffn: int) -> int:
    """Router and experts, without a shared part."""
    router = config.num_experts * hidden
    if config.router_guidance in ("type", "both"):
        router += len(TokenType) * config.num_experts
    if config.router_guidance in ("category", "both"):
        router += config.num_experts * hidden
    return router + (config.num_experts + NUM_GUIDED) * _expert_parameters(config, hidden, ffn)


def _branch_parameters(config: MoeConfig, hidden: int, ffn: int) -> int:
    width, bias = branch_width(config, hidden, ffn)
    return (3 if config.expert == "full" else 2) * hidden * width + hidden * bias
