"""How many parameters a guided layer, or its dense twin, has: known before any of it is made."""

from __future__ import annotations

from models.config import MoeConfig
from models.tokens import TokenType

NUM_GUIDED = 2
"""The category expert and the attribute expert."""


def moe_parameters(config: MoeConfig, hidden: int, ffn: int) -> dict[str, int]:
    """Parameters of ONE layer; times `len(config.layers)` for all of them.

    Args:
        config: The experts, or the dense twin.
        hidden: Width of the hidden states, D.
        ffn: Inner width of the decoder's SwiGLU FFN, F; without biases.

    Returns:
        total: Everything in the FFN's place. trainable: Without the decoder's own FFN where that stays as the shared
        part (low-rank experts); full experts are trained whole. active: Those that work on a token that is neither
        category nor attribute.
    """
    dense = 3 * hidden * ffn
    router = config.num_experts * hidden
    if config.router_guidance in ("type", "both"):
        router += len(TokenType) * config.num_experts
    if config.router_guidance in ("category", "both"):
        router += config.num_experts * hidden
    full = config.expert == "full"
    expert = dense if full else 2 * hidden * config.rank
    own = router + (config.num_experts + NUM_GUIDED) * expert
    beside = dense if not full or config.shared_expert else 0
    total, trainable = own + beside, own + beside if full else own
    active = router + config.top_k * expert + beside
    if config.kind == "guided":
        return {"total": total, "trainable": trainable, "active": active}
    branch = branch_parameters(config, hidden, ffn)
    trainable = branch + dense if full else branch
    return {"total": branch + dense, "trainable": trainable, "active": branch + dense}


def branch_width(config: MoeConfig, hidden: int, ffn: int) -> tuple[int, bool]:
    """Inner width of the dense twin's branch, and whether it has an output bias, for the same trainable parameters.

    The bias is there only to come nearer: the remainder is at most half of `hidden` (low rank), or half a unit of the
    SwiGLU (3 `hidden` / 2), which is within 1 % from 50, or 150, times `hidden` parameters on.
    """
    wanted = moe_parameters(config.model_copy(update={"kind": "guided"}), hidden, ffn)["trainable"]
    if config.expert == "full":
        return max(1, round((wanted - 3 * hidden * ffn) / (3 * hidden))), False
    halves = max(2, round(wanted / hidden))
    return halves // 2, bool(halves % 2)


def branch_parameters(config: MoeConfig, hidden: int, ffn: int) -> int:
    """Parameters of the dense twin's branch."""
    width, bias = branch_width(config, hidden, ffn)
    return (3 if config.expert == "full" else 2) * hidden * width + hidden * bias
