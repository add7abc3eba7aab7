"""The catalogue's section of the configuration tree."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.rows import Signal


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


class QueryColumns(Section):
    """Which columns of published data hold its queries; rows of one query are put together."""

    files: tuple[str, ...] = Field(
        default=(), description="Files of queries, relative to the path; empty: they stand in the products' rows."
    )
    query_id: str | None = Field(default=None, description="Rows that share it are one query; else text and photo do.")
    text: str | None = Field(default=None, description="Column of the words that a shopper typed.")
    image: str | None = Field(default=None, description="Column of the shopper's photo: path, URL or bytes.")
    product_ids: str | None = Field(
        default=None, description="Column of the product found, or several; empty: the row's own product."
    )
    product_separator: str | None = Field(
        default=None, min_length=1, description="What stands between several product ids in one text."
    )
    position: str | None = Field(
        default=None, description="Column of the product's rank in the answer; kept in extra.positions, best first."
    )
    label: str | None = Field(default=None, description="Column of the right label of a photo.")
    timestamp: str | None = Field(default=None, description="Column of seconds since 1970-01-01 UTC, or a timestamp.")
    weight: str | None = Field(default=None, description="Column of the query's weight.")
    signal: str | None = Field(default=None, description="Column that says purchase, cart, click or none.")
    every_signal: Signal = Field(
        default=Signal.NONE, description="What led to every answer, where no column says: purchase, cart, click, none."
    )

    @model_validator(mode="after")
    def _asks_something(self) -> QueryColumns:
        if not self.text and not self.image:
            raise ValueError("a query needs a text or an image column")
        return self


Source = Literal["demo", "folder", "mbe", "marqo", "shopify", "columns"]


class CatalogConfig(Section):
    """Where the catalogue comes from and what a row may cost."""

    source: Source = Field(
        default="demo",
        description="demo: rendered here; folder: our tables; mbe, marqo, shopify: as published; columns: by a map.",
    )
    path: str | None = Field(
        default=None, description="Folder or file of the rows; hub:OWNER/NAME is a data set that is on disk already."
    )
    image_root: str | None = Field(
        default=None,
        description="Folder of the photographs, where rows name URLs as `moon data fetch-images` left them, or paths.",
    )
    columns: str | None = Field(default=None, description="YAML of the column map, for source columns.")
    query_columns: QueryColumns | None = Field(
        default=None, description="Where the queries of an mbe source are: its published fields do not say."
    )
    demo: DemoConfig = DemoConfig()
    split: SplitConfig = SplitConfig()
    max_image_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="Larger files are not opened.")
    max_image_pixels: int = Field(default=50_000_000, ge=1024, description="Larger pictures are not decoded.")
    max_title_chars: int = Field(
        default=2_000,
        ge=16,
        description="Longer titles are cut, with a warning; the model's own limit counts tokens.",
    )

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> CatalogConfig:
        if self.source != "demo" and not self.path:
            raise ValueError(f"catalog.path is needed when catalog.source is {self.source}")
        takers = {"columns": ("columns",), "query_columns": ("mbe",), "image_root": _WITH_IMAGE_ROOT}
        for name, sources in takers.items():
            if getattr(self, name) is not None and self.source not in sources:
                raise ValueError(f"catalog.{name} has no effect when catalog.source is {self.source}")
        if self.source == "columns" and not self.columns:
            raise ValueError("catalog.columns is needed when catalog.source is columns: the YAML of the column map")
        return self


_WITH_IMAGE_ROOT = ("mbe", "marqo", "shopify", "columns")
