"""Which decoder MLLM the model stands on, and how large it is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from catalog import Section

BackboneKind = Literal["nano", "qwen2_5_vl", "qwen3_vl", "smolvlm", "composed"]


class NanoConfig(Section):
    """Size of `nano`, the tiny random Qwen2.5-VL that needs no download."""

    hidden_size: int = Field(default=128, ge=16, le=2048, description="Width of the decoder.")
    num_layers: int = Field(default=2, ge=1, le=64, description="Decoder layers.")
    num_heads: int = Field(default=4, ge=1, le=64, description="Attention heads of the decoder.")
    ffn_size: int = Field(default=384, ge=16, le=16384, description="Inner width of a decoder FFN.")
    vocab_size: int = Field(default=2048, ge=288, le=65536, description="Entries of the byte-level BPE tokenizer.")
    vision_hidden_size: int = Field(default=128, ge=16, le=2048, description="Width of the vision tower.")
    vision_depth: int = Field(default=3, ge=1, le=64, description="Blocks of the vision tower.")
    vision_num_heads: int = Field(default=4, ge=1, le=64, description="Attention heads of the vision tower.")
    vision_ffn_size: int = Field(default=384, ge=16, le=16384, description="Inner width of a vision FFN.")
    patch_px: int = Field(default=16, ge=2, le=64, description="Side of a patch, pixels.")
    merge_size: int = Field(default=2, ge=1, le=8, description="merge_size x merge_size patches become one token.")

    @model_validator(mode="after")
    def _fits(self) -> NanoConfig:
        for width, heads, which in (
            (self.hidden_size, self.num_heads, "hidden_size / num_heads"),
            (self.vision_hidden_size, self.vision_num_heads, "vision_hidden_size / vision_num_heads"),
        ):
            # Rotary positions split a head into pairs, and the vision tower's pairs into rows and columns.
            if width % heads or (width // heads) % 4:
                raise ValueError(f"{which} must be a whole multiple of 4, got {width} / {heads}")
        return self


class PretrainedConfig(Section):
    """A decoder MLLM with weights of its own: `qwen2_5_vl`, `qwen3_vl` or `smolvlm`."""

    weights: str = Field(
        default="",
        description="Name that `moon weights list` knows, or a local folder. Nothing is fetched at run time.",
    )
    keep_layers: int | None = Field(
        default=None, ge=1, le=256, description="Keep the first decoder layers only; empty: all of them."
    )


class ComposedConfig(Section):
    """A vision tower of timm and a causal language model, joined by a projector that starts from nothing."""

    vision: str = Field(default="efficientnet-lite0", description="Weights name or folder of the vision tower.")
    language: str = Field(default="smollm2-135m", description="Weights name or folder of the causal language model.")
    keep_layers: int | None = Field(
        default=None, ge=1, le=256, description="Keep the first decoder layers only; empty: all of them."
    )
    grid_side: int = Field(
        default=3, ge=1, le=64, description="The tower's last map is averaged to grid_side x grid_side tokens."
    )
    projector_size: int = Field(
        default=0, ge=0, le=65536, description="Hidden width of the projector; 0: a single linear map."
    )
    pooled_stages: tuple[int, ...] = Field(
        default=(),
        description="Earlier stages of the tower whose mean joins the pooled vision signal: colour and texture "
        "stand there. Numbered as timm's feature_info, 0 first.",
    )
