"""How the model is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from catalog import Section
from models.config.parameters import ParametersConfig

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
DECIDES_NO_WEIGHT = frozenset(
    {"num_workers", "num_threads", "checkpoint_every_steps", "log_every_steps", "max_seconds", "decode"}
)
"""Fields of `TrainConfig` that may be changed while a training is stopped: it goes on from its checkpoint."""


class QueryMix(Section):
    """Relative frequency of the kinds of training query.

    Our choice: more of the queries that a decoder reads photo and words of together than the paper's 12 : 3 : 2, and
    more words; one seed was ahead with it, within noise (docs/EXPERIMENTS.md). Recipes of the paper's backbone keep the
    paper's.
    """

    image: float = Field(default=6.0, ge=0.0, description="Photo queries.")
    text: float = Field(default=5.0, ge=0.0, description="Text queries.")
    both: float = Field(default=3.0, ge=0.0, description="Queries with a photo and words.")

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
    crops: Fraction = Field(
        default=0.0,
        description="Probability, for each query and each product, that its core crops are left out, so that a model "
        "can be served without (serving.crops).",
    )
    text: Fraction = Field(default=0.25, description="Modality dropout: probability that all text is hidden.")


class AugmentConfig(Section):
    """Mild changes of training pictures; colour is identity, so it hardly moves."""

    min_area_frac: Fraction = Field(default=0.6, description="Smallest share of the picture a random crop keeps.")
    flip: Fraction = Field(default=0.5, description="Probability of a left-right mirror.")
    brightness: Fraction = Field(default=0.15, description="Largest relative change of brightness.")
    contrast: Fraction = Field(default=0.15, description="Largest relative change of contrast.")


class NegativesConfig(Section):
    """Which products count against a query beside those of its own batch."""

    queue_size: int = Field(default=0, ge=0, le=10_000_000, description="Products of past batches kept; 0: none.")
    queue_warmup_steps: int = Field(
        default=20, ge=0, description="Steps before the queue counts: early vectors are soon stale."
    )
    spatial: bool = Field(default=True, description="Products of the other processes' batches count, with gradients.")
    hard_weight: float = Field(
        default=1.0, gt=0, le=1000, description="What a negative of the query's own category counts; 1: as any other."
    )


class SignalWeights(Section):
    """What a query counts by what its shopper did."""

    purchase: float = Field(default=1.0, ge=0, le=100, description="The product was bought.")
    cart: float = Field(default=0.5, ge=0, le=100, description="It was put into the cart.")
    click: float = Field(default=0.2, ge=0, le=100, description="It was looked at.")
    none: float = Field(default=1.0, ge=0, le=100, description="Made from the product itself; no shopper.")


class FilterConfig(Section):
    """Dynamic sample filtering: pairs that look wrong count less (MOON2.0)."""

    enabled: bool = Field(default=False, description="Down-weight suspicious pairs.")
    kappa: float = Field(default=10.0, gt=0, le=1000, description="Steepness.")
    margin_start: float = Field(default=0.2, ge=-2, le=2, description="Margin m at the first step, cosine.")
    margin_end: float = Field(default=0.0, ge=-2, le=2, description="Margin m at the last step, cosine.")
    threshold: float = Field(default=0.6, gt=0, le=1, description="Pairs with phi below it are down-weighted,")
    lowest: Fraction = Field(default=0.1, description="but never below this.")


class ModalityConfig(Section):
    """Modality-driven loss weights (MOON2.0)."""

    enabled: bool = Field(default=False, description="Weigh the kinds of query by the experts that their items use.")
    floor: Fraction = Field(default=0.25, description="Least weight of a kind of query; the mean is one.")
    sparsity_weight: float = Field(default=0.01, ge=0, le=10, description="Weight of the mean entropy of p_z.")


class StopConfig(Section):
    """Early stop on the score function."""

    eval_every_steps: int | None = Field(default=None, ge=1, description="Steps between two scores; empty: never.")
    patience: int = Field(default=3, ge=1, description="Scores without a better one before the training ends.")
    min_delta: float = Field(default=0.002, ge=0, le=1, description="A better score is better by this much.")


class TrainConfig(Section):
    """How the model is trained."""

    seed: int = Field(default=1, ge=0, description="Decides weights, batches, dropouts and augmentation.")
    steps: int = Field(default=130, ge=1, le=10_000_000, description="Optimiser steps.")
    batch_size: int = Field(default=64, ge=2, le=65536, description="Pairs of a query and a product in a batch.")
    accumulate_batches: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="Batches whose gradients are averaged before one update; a step takes so many. They have no "
        "negatives of each other (negatives.queue_size gives them some), so chunk_tokens is the better way to a large "
        "batch; fsdp has this one alone.",
    )
    max_seconds: float | None = Field(
        default=None, gt=0, description="End the schedule after this time, seconds; the result then depends on speed."
    )
    lr_vision: float = Field(default=1.5e-3, gt=0, le=1, description="Peak learning rate of the vision tower.")
    lr_text: float = Field(default=4e-3, gt=0, le=1, description="Peak learning rate of everything else.")
    warmup_frac: Fraction = Field(default=0.08, description="Share of the steps that the learning rate rises for.")
    weight_decay: float = Field(default=0.05, ge=0, le=1, description="AdamW weight decay of matrices.")
    clip_norm: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    temperature: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Start of the learnt temperature. The paper tells none; 0.05 is SimCSE's.",
    )
    min_temperature: float = Field(default=0.01, gt=0, le=1, description="The learnt temperature stays above it.")
    query_mix: QueryMix = QueryMix()
    query_views: Literal["drawn", "all"] = Field(
        default="drawn",
        description="drawn: a product of the batch is asked for by one kind of query, photo, words or both; all: by "
        "each kind that it has and the mix gives a weight, as in MOON2.0. A batch then has up to three times as many "
        "pairs, and steps take as much longer.",
    )
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
    symmetric: bool = Field(
        default=True,
        description="Train product -> query beside query -> product, as CLIP does; the paper does not say.",
    )
    alignment_weight: float = Field(
        default=0.3, ge=0, le=100, description="Weight of image-text alignment inside a product; 0 turns it off."
    )
    label_weight: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Weight of product-to-label-text alignment; 0 turns it off. Several "
        "processes compare the label texts of their common batch.",
    )
    max_labels: int = Field(default=48, ge=2, le=4096, description="Label texts of a field compared in one step.")
    distill_crops: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Weight of what draws the vector of an item without its core crops to the one with them, so that a "
        "model trained with crops can be served without (serving.crops); 0 turns it off. Each item with a crop is "
        "encoded once more.",
    )
    hard_negatives_per_query: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Products of the query's own category put into its batch; recipes of real photographs have 3, the "
        "rendered demo shop does better without (docs/EXPERIMENTS.md).",
    )
    hard_negative_level: int = Field(
        default=-1, ge=-1, le=16, description="Level of the category path that hard negatives share; -1: the leaf."
    )
    mask_same_group: bool = Field(default=True, description="Variants of the positive are not its negatives.")
    mask_accepted: bool = Field(
        default=True, description="Another product bought for the same query is not its negative."
    )
    mask_described: bool = Field(
        default=False,
        description="A product of which the words that stand for another are true as well is not their negative, in "
        "the alignment of words with products and pictures.",
    )
    similarity_guard: float | None = Field(
        default=0.3, ge=0, le=2, description="A negative this much more similar than the positive is left out (cosine)."
    )
    parameters: ParametersConfig = ParametersConfig()
    negatives: NegativesConfig = NegativesConfig()
    signals: SignalWeights | None = Field(
        default=SignalWeights(),
        description="What a query counts by its signal, whatever weight its row has; empty: the weight of its row.",
    )
    filter: FilterConfig = FilterConfig()
    modality: ModalityConfig = ModalityConfig()
    stop: StopConfig = StopConfig()
    chunk_tokens: int | None = Field(
        default=None,
        ge=64,
        description="GradCache: most tokens encoded at once, padding included; the batch may then be of any size. "
        "Empty: the whole batch at once. Chunks keep all negatives of the batch, which accumulate_batches would lose. "
        "Alone or with ddp, not with fsdp.",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Compute activations again instead of keeping them."
    )
    ema_decay: float | None = Field(
        default=None, gt=0, lt=1, description="Keep the moving average of the weights as the model; empty: the last."
    )
    feature_variants: int = Field(
        default=4,
        ge=0,
        le=64,
        description="Where the vision tower is frozen its features are kept on disk: of the plain picture and of so "
        "many less one augmented variants. 0: the tower runs every time.",
    )
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        default="auto", description="auto: one process, or ddp with several; fsdp: parameters sharded (FSDP2)."
    )
    num_processes: int = Field(default=1, ge=1, le=4096, description="Processes on this machine, one a device.")
    num_nodes: int = Field(default=1, ge=1, le=4096, description="Machines.")
    preset: Literal["none", "fast_dev_run", "overfit_one_batch", "profile"] = Field(
        default="none",
        description="fast_dev_run: three steps; overfit_one_batch: the first batch over and over; profile: torch's "
        "profiler over a few steps.",
    )
    checkpoint_every_steps: int = Field(default=50, ge=1, description="Steps between two resume checkpoints.")
    log_every_steps: int = Field(default=5, ge=1, description="Steps between two points of the logged curves.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="auto: bf16 on a GPU that has it, and on a CPU with bf16 units where the decoder is at least 256 "
        "wide; fp32 elsewhere.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU if there is one.")
    num_workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Processes that assemble batches; 0: this one. What they decode: decode.",
    )
    decode: Literal["once", "drawn"] = Field(
        default="once",
        description="once: before the first step, threads decode every photograph into a memory-mapped store in the "
        "working folder (its bytes: photographs x views x side x side x 3); drawn: those who assemble batches "
        "(num_workers) decode and crop each photograph whenever it is drawn, and nothing is kept. The batches are the "
        "same. Where features of a frozen tower are kept, drawn decodes for the tower alone.",
    )
    num_threads: int | None = Field(default=None, ge=1, le=1024, description="torch threads; empty: torch's choice.")

    @model_validator(mode="after")
    def _starts_above_the_floor(self) -> TrainConfig:
        if self.min_temperature > self.temperature:
            raise ValueError(
                f"min_temperature ({self.min_temperature:g}) is above temperature ({self.temperature:g}), where the "
                "learnt temperature starts; lower min_temperature or raise temperature"
            )
        return self

    def deciding_json(self) -> str:
        """What decides the weights, as JSON: the same text, the same training."""
        return self.model_dump_json(exclude=set(DECIDES_NO_WEIGHT))
