"""Which parameters learn, and how fast."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from catalog import Section

Pattern = Annotated[str, Field(min_length=1)]


class LoraConfig(Section):
    """Low-rank adapters on matrices of the backbone, whose own weights stay."""

    rank: int = Field(default=0, ge=0, le=1024, description="Rank of an adapter; 0: no LoRA.")
    alpha: float = Field(default=16.0, gt=0, le=4096, description="An adapter's change counts alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before an adapter.")
    targets: tuple[Pattern, ...] = Field(
        default=("*.q_proj", "*.v_proj", "*.o_proj"),
        min_length=1,
        description="Linear layers of the backbone that get an adapter; names with * and ?.",
    )


class ParametersConfig(Section):
    """Which parameters learn, and how fast."""

    train: Literal["full", "experts", "lora"] = Field(
        default="full",
        description="full: everything; experts: the experts and whatever is no part of the backbone; lora: those and "
        "the adapters.",
    )
    freeze: tuple[Pattern, ...] = Field(
        default=(), description="Parameters that stay although `train` takes them in; names with * and ?."
    )
    unfreeze: tuple[Pattern, ...] = Field(
        default=(), description="Parameters that learn although `train` or `freeze` leaves them out."
    )
    lora: LoraConfig = LoraConfig()
    lr_multipliers: dict[Pattern, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default={},
        description="Pattern of parameter names: factor of the learning rate. The first that matches counts.",
    )

    @model_validator(mode="after")
    def _adapters_learn(self) -> ParametersConfig:
        if (self.train == "lora") != (self.lora.rank > 0):
            raise ValueError(
                f"train is {self.train} and lora.rank is {self.lora.rank}: lora needs a rank above 0, "
                "and a rank above 0 needs train: lora"
            )
        return self
