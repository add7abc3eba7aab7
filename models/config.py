"""The model's and the training's sections of the configuration tree."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from catalog import Section

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


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


class QueryMix(Section):
    """Relative frequency of the kinds of training query; the paper's 12 : 3 : 2 by default."""

    image: float = Field(default=12.0, ge=0.0, description="Photo queries.")
    text: float = Field(default=3.0, ge=0.0, description="Text queries.")
    both: float = Field(default=2.0, ge=0.0, description="Queries with a photo and words.")

    @model_validator(mode="after")
    def _is_not_empty(self) -> QueryMix:
        if self.image + self.text + self.both <= 0:
            raise ValueError("a query mix of only zeros leaves nothing to train on")
        return self


class DropoutConfig(Section):
    """How often a field is hidden from a training product, so that a hidden field is nothing new."""

    title: Fraction = Field(default=0.3, description="Probability that the title is hidden.")
    category: Fraction = Field(default=0.5, description="Probability that the category (all levels) is hidden.")
    attribute: Fraction = Field(default=0.3, description="Probability, for each attribute, that it is hidden.")
    all_attributes: Fraction = Field(default=0.2, description="Probability that every attribute is hidden.")
    images: Fraction = Field(default=0.1, description="Modality dropout: probability that all images are hidden.")
    text: Fraction = Field(default=0.25, description="Modality dropout: probability that all text is hidden.")


class AugmentConfig(Section):
    """Mild changes of training pictures; colour is identity, so it hardly moves."""

    min_area_frac: Fraction = Field(default=0.6, description="Smallest share of the picture a random crop keeps.")
    flip: Fraction = Field(default=0.5, description="Probability of a left-right mirror.")
    brightness: Fraction = Field(default=0.15, description="Largest relative change of brightness.")
    contrast: Fraction = Field(default=0.15, description="Largest relative change of contrast.")


class TrainConfig(Section):
    """How the model is trained."""

    seed: int = Field(default=1, ge=0, description="Decides weights, batches, dropouts and augmentation.")
    steps: int = Field(default=130, ge=1, le=10_000_000, description="Optimiser steps.")
    batch_size: int = Field(default=64, ge=2, le=65536, description="Pairs of a query and a product a step.")
    max_seconds: float | None = Field(
        default=None, gt=0, description="End the schedule after this time, seconds; the result then depends on speed."
    )
    lr_vision: float = Field(default=1.5e-3, gt=0, le=1, description="Peak learning rate of the vision tower.")
    lr_text: float = Field(default=4e-3, gt=0, le=1, description="Peak learning rate of everything else.")
    warmup_frac: Fraction = Field(default=0.08, description="Share of the steps that the learning rate rises for.")
    weight_decay: float = Field(default=0.05, ge=0, le=1, description="AdamW weight decay of matrices.")
    clip_norm: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    temperature: float = Field(default=0.05, gt=0, le=1, description="Start of the learnt temperature.")
    min_temperature: float = Field(default=0.01, gt=0, le=1, description="The learnt temperature stays above it.")
    query_mix: QueryMix = QueryMix()
    pair_sources: tuple[Literal["purchases", "views", "texts"], ...] = Field(
        default=("purchases", "views"),
        min_length=1,
        description="purchases: queries of the catalogue; views: another photograph of the product asks for it; "
        "texts: its title or a sentence of its description asks for it.",
    )
    single_photo_crops: bool = Field(
        default=True,
        description="With the source views, a product with one photograph is asked for by a strong crop of it.",
    )
    photos_per_product: int = Field(default=2, ge=1, le=16, description="Photographs of a product fed in one step.")
    dropout: DropoutConfig = DropoutConfig()
    augment: AugmentConfig = AugmentConfig()
    symmetric: bool = Field(default=True, description="Train product -> query beside query -> product.")
    alignment_weight: float = Field(
        default=0.3, ge=0, le=100, description="Weight of image-text alignment inside a product; 0 turns it off."
    )
    label_weight: float = Field(
        default=1.0, ge=0, le=100, description="Weight of product-to-label-text alignment; 0 turns it off."
    )
    max_labels: int = Field(default=48, ge=2, le=4096, description="Label texts of a field compared in one step.")
    hard_negatives_per_query: int = Field(
        default=3, ge=0, le=1024, description="Products of the query's own category put into its batch."
    )
    hard_negative_level: int = Field(
        default=-1, ge=-1, le=16, description="Level of the category path that hard negatives share; -1: the leaf."
    )
    mask_same_group: bool = Field(default=True, description="Variants of the positive are not its negatives.")
    similarity_guard: float | None = Field(
        default=0.3, ge=0, le=2, description="A negative this much more similar than the positive is left out (cosine)."
    )
    checkpoint_every_steps: int = Field(default=50, ge=1, description="Steps between two resume checkpoints.")
    log_every_steps: int = Field(default=5, ge=1, description="Steps between two points of the logged curves.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto: bf16 on a GPU that has it, fp32 elsewhere."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU if there is one.")
    num_workers: int = Field(default=0, ge=0, le=256, description="Processes that assemble batches; 0: this one.")
    num_threads: int | None = Field(default=None, ge=1, le=1024, description="torch threads; empty: torch's choice.")
