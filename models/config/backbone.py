"""Which decoder MLLM the model stands on, and how large it is."""

from __future__ import annotations

from pydantic import Field, model_validator

from catalog import Section


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
