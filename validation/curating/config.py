"""What curating keeps, unites and drops."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from catalog.config import Fraction, Section
from catalog.likeness import MAX_COLOUR_LEVELS
from catalog.rows import Signal

YEAR_2000_S = 946_684_800.0
YEAR_2100_S = 4_102_444_800.0
NEAR_IDENTICAL_FRAC = 0.12
"""Wider than the data checks' bound, since a copy missed here is a leak and a pair too many only unites two groups: of
4,306 photos of four sets, the demo among them, every copy at 70 % of its size and JPEG quality 60 is found (at 0.06,
95 % of the demo's), and no two photos of different articles are taken for one."""


class CuratingConfig(Section):
    """Thresholds and caps. Every rule depends on the rows it compares alone, so a growing shop keeps its groups."""

    salt: str = Field(default="mbe-1", min_length=1, description="Of every draw; change it and other items are drawn.")
    near_text_frac: float = Field(
        default=0.7, gt=0.0, le=1.0, description="Least Jaccard overlap of two texts' shingles to call them one text,"
    )
    near_identical_frac: Fraction = Field(
        default=NEAR_IDENTICAL_FRAC,
        description="Two photos may be one when at most this share of their hash bits differ,",
    )
    near_identical_levels: float = Field(
        default=MAX_COLOUR_LEVELS, ge=0.0, le=255.0, description="and their coarse colours by so many levels of 0..255."
    )
    variant_attributes: tuple[str, ...] = Field(
        default=("color", "colour", "size", "farbe", "größe", "颜色", "尺码"),
        description="Attributes whose values tell variants of one article apart.",
    )
    link_titles: bool = Field(
        default=True, description="Unite groups whose titles are equal but for size and colour words."
    )
    min_stem_words: int = Field(
        default=3, ge=1, description="Titles with fewer words beside size and colour name no article and unite nothing."
    )
    max_united_groups: int = Field(
        default=20, ge=2, description="More groups found to be one article is a placeholder picture: refused."
    )
    ignored_photos: tuple[str, ...] = Field(
        default=(), description="SHA-256 of placeholder pictures: they tie no groups and make no duplicate."
    )
    earliest_s: float = Field(
        default=YEAR_2000_S, description="Stamps before are absurd, seconds since 1970; 2000-01-01 unless told."
    )
    log_end_s: float = Field(
        default=YEAR_2100_S, description="When the log was taken, seconds since 1970: later stamps are absurd."
    )
    keep_undated: bool = Field(
        default=False, description="With a cut in time, keep purchases without a stamp, which may lie on either side."
    )
    min_support: float = Field(
        default=2.0, gt=0.0, description="Least weight of a pair of words and product: 2 is two purchases."
    )
    min_photo_support: float = Field(
        default=1.0, gt=0.0, description="The same where the query has a photo, which hardly two shoppers share."
    )
    signal_weights: dict[Signal, Annotated[float, Field(ge=0.0)]] = Field(
        default={Signal.PURCHASE: 1.0, Signal.CART: 0.0, Signal.CLICK: 0.0},
        description="What one row of each signal adds to a pair's support. Rows without a signal state relevance: "
        "they are no log and need no support.",
    )
    session_fields: tuple[str, ...] = Field(
        default=("session_id", "session", "user_id", "user"),
        description="Columns in a query's extra, the first found counts: a pair is counted once a session.",
    )
    max_leaf_products: int | None = Field(
        default=None, ge=1, description="Most test products a leaf category keeps; empty: all."
    )
    min_leaf_products: int = Field(
        default=5, ge=1, description="Products every leaf keeps, if it has them, when the gallery's cap is applied."
    )
    max_gallery: int | None = Field(default=None, ge=1, description="Most products in the gallery; empty: all.")
    max_queries: int | None = Field(default=None, ge=1, description="Most queries a task; empty: all.")
    num_workers: int = Field(default=0, ge=0, le=256, description="Threads that decode photos; 0: one a core and one.")

    @model_validator(mode="after")
    def _fits(self) -> CuratingConfig:
        if self.max_leaf_products is not None and self.max_leaf_products < self.min_leaf_products:
            raise ValueError(
                f"max_leaf_products {self.max_leaf_products} is below min_leaf_products {self.min_leaf_products}"
            )
        if self.earliest_s >= self.log_end_s:
            raise ValueError("earliest_s must lie before log_end_s")
        return self
