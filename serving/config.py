"""The service's section of the configuration tree."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from catalog import ImageLimits, Section
from models.config import Crops

MIB = 1024 * 1024


class ServingConfig(Section):
    """How a version is packaged and served, and what one request may cost."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 opens it to the network.")
    port: int = Field(default=3000, ge=1, le=65535, description="Port to listen on.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where the encoder runs.")
    dims: int | None = Field(
        default=None,
        ge=1,
        description="Length of the vectors that are served and indexed: model.embedding_dims or one of "
        "model.matryoshka_dims. Empty: model.embedding_dims. train_moon takes no shorter one: its gate judges "
        "whole vectors.",
    )
    crops: Crops | None = Field(
        default=None,
        description="Core crops that the encoder is fed: as model.crops, or fewer (train.distill_crops). none: the "
        "Bento needs no region detector. Empty: model.crops. train_moon judges the model as it is served.",
    )
    workers: int = Field(default=1, ge=1, le=256, description="Server processes; each holds the model.")
    threads_per_worker: int = Field(
        default=0, ge=0, le=1024, description="CPU threads for the encoder in a worker; 0: the cores over the workers."
    )
    max_concurrency: int = Field(default=64, ge=1, description="Requests in flight over all workers; more get 429.")
    request_timeout_s: float = Field(default=60.0, gt=0, le=3600, description="A slower request is answered with 504.")
    start_timeout_s: float = Field(default=120.0, gt=0, le=3600, description="How long a start may take, seconds.")
    max_body_bytes: int = Field(default=64 * MIB, ge=1024, description="A larger request body is not read.")
    max_items_per_request: int = Field(default=64, ge=1, le=10_000, description="Products in one embed request.")
    max_images_per_item: int = Field(default=16, ge=0, le=1_000, description="Photographs of one product.")
    max_image_bytes: int = Field(default=8 * MIB, ge=1024, description="A larger photograph is refused.")
    max_image_pixels: int = Field(default=25_000_000, ge=1024, description="Width x height of a photograph.")
    max_request_pixels: int = Field(
        default=200_000_000, ge=1024, description="Width x height of all photographs of a request; 3 bytes each."
    )
    max_text_chars: int = Field(default=2_000, ge=16, description="Length of any one text of a request.")
    max_attributes: int = Field(default=64, ge=0, description="Attributes of one product; values of one attribute.")
    default_k: int = Field(default=10, ge=1, description="Hits of a search that does not say how many.")
    max_top_k: int = Field(default=100, ge=1, le=10_000, description="Most hits a search may ask for.")
    index_batch_size: int = Field(default=64, ge=1, description="Products embedded at a time when an index is built.")
    thumbnail_px: int = Field(default=160, ge=16, le=1024, description="Longest side of a result picture, pixels.")
    ann_min_rows: int = Field(
        default=200_000, ge=256, description="From here on the index answers approximately (IVF-HNSW); exact below."
    )
    explorer: bool = Field(default=True, description="Serve the search page at /.")
    include_ultralytics: bool = Field(
        default=False, description="Put ultralytics (AGPL-3.0) into the Bento; needed by its region detector only."
    )

    @model_validator(mode="after")
    def _k_fits(self) -> ServingConfig:
        if self.default_k > self.max_top_k:
            raise ValueError(f"default_k {self.default_k} is above max_top_k {self.max_top_k}")
        return self

    @model_validator(mode="after")
    def _one_photograph_fits(self) -> ServingConfig:
        if self.max_image_pixels > self.max_request_pixels:
            raise ValueError(
                f"max_image_pixels {self.max_image_pixels} is above max_request_pixels {self.max_request_pixels}"
            )
        return self

    @property
    def image_limits(self) -> ImageLimits:
        """What one photograph of a request may cost."""
        return ImageLimits(max_bytes=self.max_image_bytes, max_pixels=self.max_image_pixels)
