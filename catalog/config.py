"""The catalogue's section of the configuration tree."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A frozen part of the configuration tree: a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class DemoConfig(Section):
    """The rendered demo shop."""

    num_products: int = Field(default=600, ge=24, le=1_000_000, description="Products to render.")
    seed: int = Field(default=7, ge=0, description="Same seed and size: the same shop, to the byte.")
    image_size_px: int = Field(default=160, ge=64, le=1024, description="Side of a rendered photograph, pixels.")
    queries_per_product: float = Field(
        default=2.0, ge=0.0, le=50.0, description="Simulated shoppers' queries per product, on average."
    )
    num_workers: int = Field(default=0, ge=0, le=256, description="Rendering processes; 0: one a core.")


class SplitConfig(Section):
    """Which side of the split a group of products is on: a hash of its id, never a seed, order or size."""

    salt: str = Field(default="moon-1", min_length=1, description="Change it and every split changes.")
    test_frac: Fraction = Field(default=0.2, description="Share of groups held out for the benchmark.")
    val_frac: Fraction = Field(default=0.1, description="Share of groups for choosing checkpoints.")
    offset_frac: Fraction = Field(
        default=0.0,
        description="Where the test side begins on the circle of hashes: 0, 0.2, .. 0.8 with test_frac 0.2 are five "
        "folds, each group held out by exactly one.",
    )
    cut_time_s: float | None = Field(
        default=None, description="T, seconds since 1970: train purchases before T, test purchases from T on."
    )
    cut_quantile: Fraction | None = Field(
        default=None, description="T as a quantile of the queries' timestamps; not together with cut_time_s."
    )
    hold_out_leaves: tuple[str, ...] = Field(
        default=(), description="Leaf category paths joined by ' > ' that only the test side may hold (zero-shot)."
    )

    @model_validator(mode="after")
    def _fits(self) -> SplitConfig:
        if self.test_frac + self.val_frac >= 1.0:
            raise ValueError("test_frac + val_frac must stay below 1: nothing would be left to train on")
        if self.cut_time_s is not None and self.cut_quantile is not None:
            raise ValueError("give cut_time_s or cut_quantile, not both")
        return self


class CatalogConfig(Section):
    """Where the catalogue comes from and what a row may cost."""

    source: Literal["demo", "folder"] = Field(default="demo", description="demo: rendered here; folder: at `path`.")
    path: str | None = Field(default=None, description="Folder with products.jsonl or products.parquet and images/.")
    demo: DemoConfig = DemoConfig()
    split: SplitConfig = SplitConfig()
    max_image_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="Larger files are not opened.")
    max_image_pixels: int = Field(default=50_000_000, ge=1024, description="Larger pictures are not decoded.")
    max_title_chars: int = Field(default=2_000, ge=16, description="Longer titles are cut, with a warning.")

    @model_validator(mode="after")
    def _folder_has_path(self) -> CatalogConfig:
        if self.source == "folder" and not self.path:
            raise ValueError("catalog.path is needed when catalog.source is folder")
        return self
