"""What the model is: together with the weights and the tokenizer this decides every vector."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from catalog import Section
from models.config.backbone import NanoConfig
from models.config.moe import MoeConfig


class ModelConfig(Section):
    """What the model is: together with the weights and the tokenizer this decides every vector."""

    backbone: Literal["nano"] = Field(default="nano", description="Decoder MLLM the model stands on.")
    nano: NanoConfig = NanoConfig()
    image_side_px: int = Field(default=96, ge=16, le=1024, description="Side of the square a picture is fitted into.")
    max_images: int = Field(default=3, ge=1, le=16, description="Original photographs of a product; as many crops.")
    use_crops: bool = Field(default=True, description="Feed the core region of each photograph beside the original.")
    max_title_tokens: int = Field(default=48, ge=4, le=4096, description="Title budget, tokens; the rest is cut.")
    max_text_tokens: int = Field(default=64, ge=4, le=4096, description="Budget of a query or label text, tokens.")
    max_field_tokens: int = Field(default=96, ge=4, le=4096, description="Budget of category, and of attributes.")
    use_description: bool = Field(default=False, description="Feed the description too, after the title.")
    max_description_tokens: int = Field(default=96, ge=4, le=4096, description="Description budget, tokens.")
    moe: MoeConfig = MoeConfig()
    pooling: Literal["mean", "balanced"] = Field(
        default="balanced", description="mean: over all tokens; balanced: over the means of the token types present."
    )
    vision_residual: bool = Field(default=True, description="Add the gated pooled vision tower to the embedding.")
    word_residual: bool = Field(default=True, description="Add the pooled token embeddings to the embedding.")
    embedding_dims: int = Field(default=128, ge=8, le=4096, description="Length of an embedding.")
    matryoshka_dims: tuple[int, ...] = Field(
        default=(), description="Shorter prefixes trained to be embeddings of their own; each below embedding_dims."
    )

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        step = self.nano.patch_px * self.nano.merge_size
        if self.image_side_px % step:
            raise ValueError(f"image_side_px must be a multiple of patch_px x merge_size = {step}")
        for layer in self.moe.layers:
            if not -self.nano.num_layers <= layer < self.nano.num_layers:
                raise ValueError(f"moe.layers names layer {layer} of {self.nano.num_layers}")
        if any(not 1 <= dims < self.embedding_dims for dims in self.matryoshka_dims):
            raise ValueError("matryoshka_dims must lie between 1 and embedding_dims - 1")
        return self
