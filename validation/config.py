"""The validation room's sections of the configuration tree."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from catalog.config import Fraction, Section
from catalog.likeness import MAX_BITS_FRAC, MAX_COLOUR_LEVELS
from validation.checks import CHECKS, Level


class DataChecksConfig(Section):
    """What a catalogue must keep to before anything is trained on it."""

    on_error: Literal["stop", "quarantine"] = Field(
        default="stop",
        description="stop: an error ends the run. quarantine: bad rows are set aside in a file, each with its reason.",
    )
    max_quarantined_frac: Fraction = Field(
        default=0.2, description="More products than this set aside is no accident: the run stops even so."
    )
    levels: dict[str, Level] = Field(
        default_factory=dict, description="Check name to error, warning or off, where the default does not fit."
    )
    min_title_chars: int = Field(default=3, ge=1, description="Shorter titles are reported.")
    max_title_chars: int = Field(default=300, ge=1, description="Longer titles are reported.")
    min_title_frac: Fraction = Field(default=0.9, description="Share of products that should have a title.")
    min_photo_frac: Fraction = Field(default=0.9, description="Share of products that should have a photo.")
    min_category_frac: Fraction = Field(default=0.9, description="Share of products that should have a category.")
    min_category_levels: int = Field(default=1, ge=1, description="Shallower category paths are reported.")
    max_category_levels: int = Field(default=6, ge=1, description="Deeper category paths are reported.")
    min_attributes_frac: Fraction = Field(default=0.5, description="Share of products that should have an attribute.")
    min_attribute_coverage_frac: Fraction = Field(
        default=0.01, description="Attributes that a smaller share of the products has are reported."
    )
    min_price: float = Field(default=0.0, ge=0.0, description="Lower prices are reported; the catalogue's currency.")
    max_price: float = Field(default=1e6, gt=0.0, description="Higher prices are reported; the catalogue's currency.")
    min_leaf_products: int = Field(default=5, ge=1, description="Leaf categories with fewer products are reported.")
    max_leaf_frac: Fraction = Field(default=0.5, description="A leaf with a larger share of products is reported.")
    min_image_side_px: int = Field(default=96, ge=1, description="Photos with a shorter short side are reported.")
    max_image_aspect: float = Field(default=4.0, ge=1.0, description="Long side by short side; above is reported.")
    min_query_chars: int = Field(default=2, ge=1, description="Shorter query texts are reported.")
    max_query_chars: int = Field(default=2_000, ge=1, description="Longer query texts are reported.")
    near_identical_frac: Fraction = Field(
        default=MAX_BITS_FRAC, description="Two photos may be one when at most this share of their hash bits differ,"
    )
    near_identical_levels: float = Field(
        default=MAX_COLOUR_LEVELS, ge=0.0, le=255.0, description="and their coarse colours by so many levels of 0..255."
    )
    num_workers: int = Field(default=0, ge=0, le=256, description="Threads that decode photos; 0: one a core and one.")

    @field_validator("levels")
    @classmethod
    def _checks_exist(cls, levels: dict[str, Level]) -> dict[str, Level]:
        for name in levels:
            if name not in CHECKS:
                near = difflib.get_close_matches(name, CHECKS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(CHECKS)}"
                raise ValueError(f"no data check is called {name}; {hint}")
        return levels

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> DataChecksConfig:
        for name in ("title_chars", "category_levels", "price", "query_chars"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise ValueError(f"min_{name} {low} is above max_{name} {high}")
        return self

    def level_of(self, check: str) -> Level:
        """How bad it is when `check` finds something."""
        return self.levels.get(check, CHECKS[check].level)


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
    score_block_mib: int = Field(default=64, ge=1, description="Memory for one block of scores, MiB.")
