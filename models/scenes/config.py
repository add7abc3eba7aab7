"""What scenes are composed of, and the named mixtures of them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import Field, model_validator

from catalog.config import Fraction, Section
from catalog.errors import ConfigError


class SceneConfig(Section):
    """How scenes are drawn at random; every share is of scenes unless it says otherwise."""

    seed: int = Field(default=0, ge=0, description="Another seed, other scenes at every index.")
    side_px: int = Field(default=320, ge=64, le=1024, description="Longer side of a scene, pixels.")
    studio_frac: Fraction = Field(default=0.15, description="Before a plain studio background, without distractors.")
    whole_frame_frac: Fraction = Field(default=0.05, description="The product covers the whole picture.")
    empty_frac: Fraction = Field(default=0.03, description="No product at all.")
    collage_frac: Fraction = Field(default=0.05, description="Two to four panels with the same product.")
    pair_frac: Fraction = Field(
        default=0.03,
        description="Two of the product side by side, one box round both; of shoes and the like 20 times as often.",
    )
    worn_frac: Fraction = Field(default=0.08, description="A tops' figure: head, arms and legs around it.")
    hanger_frac: Fraction = Field(default=0.15, description="A hanger above a garment, not in the box.")
    min_area_frac: float = Field(default=0.04, gt=0.0, le=1.0, description="Smallest box of the product, of the area.")
    max_area_frac: float = Field(
        default=0.97,
        gt=0.0,
        le=1.0,
        description="Largest box of the product, of the area; one cut on two opposite sides spans the picture anyway.",
    )
    large_frac: Fraction = Field(
        default=0.65, description="Share of products that fill a quarter to four fifths of the picture."
    )
    spread_frac: Fraction = Field(
        default=0.45,
        description="How far the product strays from the middle: standard deviation, as a share of the free room.",
    )
    crop_frac: Fraction = Field(default=0.15, description="The frame cuts the product.")
    occluded_frac: Fraction = Field(
        default=0.2, description="A hand, a leaf or another object lies before the product."
    )
    max_occluded_frac: float = Field(
        default=0.25, ge=0.0, le=0.6, description="Largest share of the product's pixels that may be hidden."
    )
    distractor_frac: Fraction = Field(default=0.6, description="There are other products in the picture.")
    max_distractors: int = Field(default=4, ge=0, le=12, description="Other products in a picture.")
    rival_frac: Fraction = Field(
        default=0.4,
        description="Of scenes with distractors: one is comparable in size, but off centre, cut or partly hidden.",
    )
    prop_frac: Fraction = Field(default=0.3, description="Things not for sale lie about: plants, books, cups.")
    sign_frac: Fraction = Field(default=0.12, description="Promotion text or badges are printed over the picture.")
    floating_frac: Fraction = Field(
        default=0.1, description="Of cut-outs that their photograph cuts: the straight edge may stand in the open."
    )
    drawn_frac: Fraction = Field(
        default=0.3, description="Of products: a drawn garment or smooth shape instead of a cut-out."
    )
    restyle_frac: Fraction = Field(default=0.4, description="Of cut-outs: another colour, pattern or folds.")
    camouflage_frac: Fraction = Field(default=0.1, description="The product has nearly its background's colour.")
    bold_frac: Fraction = Field(
        default=0.2, description="Of drawn backgrounds: strong patterns and colours, which draw the eye."
    )
    photo_background_frac: Fraction = Field(
        default=0.3, description="Of backgrounds, where photographs are given: made of them."
    )

    @model_validator(mode="after")
    def _fits(self) -> SceneConfig:
        if self.min_area_frac >= self.max_area_frac:
            raise ValueError("min_area_frac must be below max_area_frac")
        if self.studio_frac + self.whole_frame_frac + self.empty_frac + self.collage_frac > 1.0:
            raise ValueError("studio_frac + whole_frame_frac + empty_frac + collage_frac must not be above 1")
        return self


_ALONE: dict[str, Any] = {"distractor_frac": 0.0, "max_distractors": 0, "empty_frac": 0.0, "collage_frac": 0.0}

PRESETS: dict[str, dict[str, Any]] = {
    "mixed": {},
    "one_product": _ALONE,
    "distractors": {
        "distractor_frac": 1.0,
        "empty_frac": 0.0,
        "collage_frac": 0.0,
        "studio_frac": 0.0,
        "whole_frame_frac": 0.0,
    },
    "hard": {
        "studio_frac": 0.0,
        "whole_frame_frac": 0.0,
        "empty_frac": 0.0,
        "collage_frac": 0.0,
        "distractor_frac": 1.0,
        "rival_frac": 1.0,
        "prop_frac": 0.8,
        "bold_frac": 1.0,
        "camouflage_frac": 0.75,
        "crop_frac": 0.1,
        "spread_frac": 0.35,
        "occluded_frac": 0.35,
        "sign_frac": 0.25,
        "large_frac": 0.3,
        "min_area_frac": 0.08,
        "max_area_frac": 0.5,
    },
}
"""`mixed` trains; `one_product`, `distractors` and `hard` evaluate: alone, among others, where contrast misleads."""


def scene_preset(name: str, **changes: Any) -> SceneConfig:
    """The named mixture, with `changes` to its fields.

    Raises:
        ConfigError: No preset has this name.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        raise ConfigError(
            "no such preset of scenes",
            where="scenes.preset",
            got=name,
            allowed=", ".join(PRESETS),
            fix=f"did you mean {near[0]}?" if near else "",
        )
    return SceneConfig(**{**PRESETS[name], **changes})
