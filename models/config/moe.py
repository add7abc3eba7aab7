"""The guided mixture of experts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from catalog import Section


class MoeConfig(Section):
    """Guided mixture of experts in place of the FFN of chosen decoder layers.

    The paper tells neither the number of experts nor k, layers or weights of the side losses. Our choices: the last
    layer of `nano`'s two, so that what is read before it is shared by all experts; four experts and two a token, the
    fewest among which there is something to choose; low-rank ones, which a shop of some hundred products can fill;
    0.01 and 0.001 as Switch Transformers (arXiv 2101.03961) and ST-MoE (2202.08906) weigh balance and z-loss. Larger
    backbones name their own in configs/train_moon.
    """

    kind: Literal["guided", "dense"] = Field(
        default="guided",
        description="guided: the mixture of experts; dense: in its place one change of the FFN for every token, with "
        "as many trainable parameters as this mixture would have (for the ablation).",
    )
    layers: tuple[int, ...] = Field(default=(-1,), description="Decoder layers; -1 is the last. Empty: dense model.")
    num_experts: int = Field(default=4, ge=1, le=4096, description="Routed experts a layer.")
    top_k: int = Field(default=2, ge=1, le=4096, description="Routed experts that work on a token.")
    combination: Literal["switch", "additive"] = Field(
        default="additive",
        description="switch: category and attribute tokens go to their expert alone; additive: their expert adds to "
        "the routed ones, starting at zero.",
    )
    expert: Literal["full", "low_rank"] = Field(
        default="low_rank", description="full: copies of the FFN; low_rank: the shared FFN plus a low-rank change."
    )
    rank: int = Field(default=16, ge=1, le=1024, description="Rank of a low-rank expert.")
    shared_expert: bool = Field(
        default=False,
        description="An expert for every token beside the routed full ones, each starting as half the FFN. Low-rank "
        "experts always stand beside the shared FFN.",
    )
    router_guidance: Literal["none", "type", "category", "both"] = Field(
        default="both",
        description="What the router knows beyond the token: type: the token's type; category: the sequence's "
        "category tokens and slot; both start without effect.",
    )
    router_noise_std: float = Field(
        default=0.0,
        ge=0.0,
        le=10.0,
        description="Standard deviation of the noise on router logits while choosing experts, in training only.",
    )
    init_noise_std: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Noise on each full routed expert's start, in standard deviations of the matrix it is added to; "
        "above 0 the first step is no longer exactly the dense model's.",
    )
    load_balance_weight: float = Field(default=0.01, ge=0.0, le=10.0, description="Weight of the load-balance loss.")
    router_z_weight: float = Field(default=0.001, ge=0.0, le=10.0, description="Weight of the router's z-loss.")

    @model_validator(mode="after")
    def _fits(self) -> MoeConfig:
        if self.top_k > self.num_experts:
            raise ValueError(f"top_k ({self.top_k}) is above num_experts ({self.num_experts})")
        if self.expert == "low_rank" and self.shared_expert:
            raise ValueError("shared_expert is for full experts: low_rank ones stand beside the shared FFN already")
        if self.expert == "low_rank" and self.init_noise_std:
            raise ValueError("init_noise_std is for full experts: low_rank ones start different from each other")
        return self
