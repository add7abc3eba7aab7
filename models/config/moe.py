"""The guided mixture of experts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from catalog import Section


class MoeConfig(Section):
    """Guided mixture of experts in place of the FFN of chosen decoder layers."""

    layers: tuple[int, ...] = Field(default=(-1,), description="Decoder layers; -1 is the last. Empty: dense model.")
    num_experts: int = Field(default=4, ge=1, le=256, description="Routed experts a layer.")
    top_k: int = Field(default=2, ge=1, le=256, description="Experts that work on a token.")
    combination: Literal["switch", "additive"] = Field(
        default="additive",
        description="switch: CATEGORY and ATTRIBUTE tokens go to their expert alone; additive: their expert adds to "
        "the routed ones, starting at zero.",
    )
    expert: Literal["full", "low_rank"] = Field(
        default="low_rank", description="full: copies of the FFN; low_rank: the shared FFN plus a low-rank change."
    )
    rank: int = Field(default=16, ge=1, le=1024, description="Rank of a low-rank expert.")
    load_balance_weight: float = Field(default=0.01, ge=0.0, le=10.0, description="Weight of the load-balance loss.")
    router_z_weight: float = Field(default=0.001, ge=0.0, le=10.0, description="Weight of the router's z-loss.")

    @model_validator(mode="after")
    def _fits(self) -> MoeConfig:
        if self.top_k > self.num_experts:
            raise ValueError(f"top_k ({self.top_k}) is above num_experts ({self.num_experts})")
        return self
