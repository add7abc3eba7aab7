"""The validation room's sections of the configuration tree."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from catalog.config import Fraction, Section


class BenchmarkConfig(Section):
    """How an encoder is judged on held-out products."""

    ks: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        default=(1, 5, 10),
        min_length=1,
        description="Cut-offs of recall@k. One that the pool does not exceed is left out.",
    )
    num_bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Resamples of groups for the intervals.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0, description="Coverage of the intervals.")
    seed: int = Field(default=0, ge=0, description="Seed of the resampling; equal seeds give paired intervals.")
    min_attribute_n: int = Field(
        default=30, ge=1, description="Test products that must carry an attribute for it to enter the macro average."
    )
    max_attribute_values: int = Field(
        default=500, ge=2, description="Attributes with more values in train are free text and not asked for."
    )
    max_description_chars: int = Field(
        default=200, ge=20, description="First sentences of a description up to this length become a text query."
    )
    near_identical_frac: Fraction = Field(
        default=0.04,
        description="Two photos are near-identical when at most this share of their perceptual hash's bits differ.",
    )
    score_block_mib: int = Field(default=64, ge=1, description="Memory for one block of scores, MiB.")


class BeatRule(Section):
    """Trivial baselines that must be beaten, and on what."""

    metrics: tuple[str, ...] = Field(min_length=1, description="`task/metric` names.")
    by: Fraction = Field(default=0.0, description="Least difference, in the metric's own unit (0 to 1).")


class GatePolicy(Section):
    """What a model must show before it may be registered. Rules are joined by `and`; their order means nothing."""

    required_tasks: tuple[str, ...] = Field(default=(), description="Tasks that must have a score.")
    floors: dict[str, Fraction] = Field(default_factory=dict, description="Metric -> least value.")
    beat: dict[str, BeatRule] = Field(default_factory=dict, description="Name of a rival -> where it must be beaten.")
    champion: dict[str, Fraction] = Field(
        default_factory=dict, description="Metric -> most it may fall below the champion's."
    )
    min_n: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="Task or metric -> least number of queries or products behind it."
    )


class GateConfig(Section):
    """Which policy decides about promotion."""

    policy: str | GatePolicy = Field(
        default="configs/gates/demo.yaml", description="Path of a policy in YAML, or the policy itself."
    )
