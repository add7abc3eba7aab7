"""What the model is: together with the weights and the tokenizer this decides every vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from catalog import Section
from models.config.backbone import BackboneKind, ComposedConfig, NanoConfig, PretrainedConfig
from models.config.moe import MoeConfig


class HeadShares(Section):
    """Shares of the fused state and of the raw signals that are on, relative to each other.

    head heads: of the dimensions. head parts: of the squared length at the start, within pictures and within words.
    """

    fused: float = Field(default=1.0, gt=0, le=100, description="head heads: the fused state.")
    vision: float = Field(default=1.0, gt=0, le=100, description="The pooled vision tower.")
    colours: float = Field(default=2.0, gt=0, le=100, description="The colours: vision alone mistakes variants.")
    words: float = Field(default=3.0, gt=0, le=100, description="The words: few dimensions mistake one for another.")
    codes: float = Field(default=3.0, gt=0, le=100, description="The codes of the words.")


Crops = Literal["both", "products", "queries", "none"]
"""Whose photographs have their core region fed beside the original."""


class ModelConfig(Section):
    """What the model is: together with the weights and the tokenizer this decides every vector."""

    backbone: BackboneKind = Field(default="nano", description="Decoder MLLM the model stands on.")
    nano: NanoConfig = NanoConfig()
    pretrained: PretrainedConfig = PretrainedConfig()
    composed: ComposedConfig = ComposedConfig()
    fusion: Literal["decoder", "late"] = Field(
        default="decoder",
        description="decoder: pictures and words meet in the decoder, as in MOON; late: the dual encoder, whose two "
        "towers meet in a weighted sum.",
    )
    late_hidden_size: int = Field(
        default=256,
        ge=8,
        le=65536,
        description="fusion late, head parts: hidden width of what is learnt beside the vision tower's raw signal.",
    )
    image_side_px: int = Field(default=96, ge=16, le=2048, description="Side of the square a picture is fitted into.")
    max_picture_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Budget of a product's picture tokens, originals and crops together; the resolution is lowered "
        "until they fit.",
    )
    max_images: int = Field(default=3, ge=1, le=16, description="Original photographs of a product; as many crops.")
    crops: Crops = Field(
        default="both",
        description="Whose photographs have their core region fed beside the original: products' and queries' (both), "
        "those of one side, or none. With none, no region is looked for.",
    )
    max_title_tokens: int = Field(default=48, ge=4, le=4096, description="Title budget, tokens; the rest is cut.")
    max_text_tokens: int = Field(default=64, ge=4, le=4096, description="Budget of a query or label text, tokens.")
    max_field_tokens: int = Field(default=96, ge=4, le=4096, description="Budget of category, and of attributes.")
    use_description: bool = Field(default=False, description="Feed the description too, after the title.")
    max_description_tokens: int = Field(default=96, ge=4, le=4096, description="Description budget, tokens.")
    moe: MoeConfig = MoeConfig()
    slots: bool = Field(
        default=True,
        description="End every sequence with a learnt category slot and attribute slot, which the guided experts "
        "work on: that is how a query, which has neither field, meets them.",
    )
    order: Literal["words_first", "pictures_first"] = Field(
        default="words_first",
        description="What a sequence begins with. A token sees only what stands before it: with words_first a title is "
        "read the same with and without pictures, and they in its light; pictures_first: as most chat templates.",
    )
    pooling: Literal["mean", "balanced", "last"] = Field(
        default="mean",
        description="mean: over tokens, each the same, as the paper has it; balanced: over the means of the token "
        "types present; last: the last token. All of it over the whole sequence, but with head parts within words, "
        "within pictures and within slots, each apart; without slots the whole sequence stands for them.",
    )
    vision_residual: bool = Field(
        default=False,
        description="Add the gated pooled vision tower to the embedding, past the decoder. For towers that come with "
        "weights: beside one that learns from nothing it costs more than it brings (docs/RESULTS.md). Late fusion has "
        "it always.",
    )
    colour_residual: bool = Field(
        default=True, description="Add the colours of the pictures to the embedding: they tell variants apart."
    )
    word_residual: bool = Field(
        default=False,
        description="Add the pooled token embeddings to the embedding, past the decoder. For embeddings that come with "
        "weights: those that learn from nothing cost more there than they bring (docs/EXPERIMENTS.md).",
    )
    code_residual: bool = Field(
        default=True,
        description="Add a fixed random code of each token, pooled: which words stand in a text, whatever they mean.",
    )
    word_weights: Literal["equal", "rare"] = Field(
        default="rare",
        description="equal: every token of a field counts the same; rare: a token frequent in the train side's "
        "texts counts less.",
    )
    residual_start: Literal["zero", "open", "whitened"] = Field(
        default="whitened",
        description="How the residuals start. zero: the words' at zero, the pictures' as a random map; open: both as "
        "random maps; whitened: both as the whitened principal components of the train side's raw signals.",
    )
    head: Literal["sum", "heads", "parts"] = Field(
        default="parts",
        description="sum: raw signals are added to the fused one; heads: each has dimensions of its own, interleaved; "
        "parts: pictures, words and the fused state are brought to length one each and added with learnt weights.",
    )
    head_shares: HeadShares = HeadShares()
    slot_weight: float = Field(
        default=0.25,
        gt=0,
        le=10,
        description="head parts: what the slots count at the start, against one of pictures and one of words. A query "
        "of words alone has little to say there, and more of it drowns them.",
    )
    embedding_dims: int = Field(default=256, ge=8, le=4096, description="Length of an embedding.")
    matryoshka_dims: tuple[int, ...] = Field(
        default=(), description="Shorter prefixes trained to be embeddings of their own; each below embedding_dims."
    )

    @model_validator(mode="before")
    @classmethod
    def _reads_use_crops(cls, given: Any) -> Any:
        """Model folders and recipes older than `crops` say `use_crops`, true or false."""
        if not isinstance(given, Mapping) or "use_crops" not in given:
            return given
        migrated = {key: value for key, value in given.items() if key != "use_crops"}
        old = given["use_crops"]
        if "crops" in given or not isinstance(old, bool):
            raise ValueError("use_crops is crops now: both for true, none for false, or products or queries alone")
        return migrated | {"crops": "both" if old else "none"}

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if self.backbone == "nano":
            step = self.nano.patch_px * self.nano.merge_size
            if self.image_side_px % step:
                raise ValueError(f"image_side_px must be a multiple of patch_px x merge_size = {step}")
        num_layers = self.num_known_layers
        for layer in self.moe.layers:
            if num_layers is not None and not -num_layers <= layer < num_layers:
                raise ValueError(f"moe.layers names layer {layer} of {num_layers}")
        if self.backbone in ("qwen2_5_vl", "qwen3_vl", "smolvlm") and not self.pretrained.weights:
            raise ValueError(f"model.pretrained.weights is needed when model.backbone is {self.backbone}")
        if any(not 1 <= dims < self.embedding_dims for dims in self.matryoshka_dims):
            raise ValueError("matryoshka_dims must lie between 1 and embedding_dims - 1")
        return self

    @property
    def product_views(self) -> int:
        """Squares of a product's photograph: the original and, with crops, its core region."""
        return 2 if self.crops in ("both", "products") else 1

    @property
    def query_views(self) -> int:
        """Squares of a query's photograph."""
        return 2 if self.crops in ("both", "queries") else 1

    @property
    def num_known_layers(self) -> int | None:
        """Decoder layers, as far as the configuration alone tells."""
        if self.backbone == "nano":
            return self.nano.num_layers
        return self.composed.keep_layers if self.backbone == "composed" else self.pretrained.keep_layers

    @property
    def weights_names(self) -> tuple[str, ...]:
        """Names or folders of the published weights that the model starts from; none for `nano`."""
        if self.backbone == "composed":
            return self.composed.vision, self.composed.language
        return () if self.backbone == "nano" else (self.pretrained.weights,)
