"""Requests and answers as they travel: JSON with photographs in base64.

Strict: a field the service does not know is an error, and a number in quotes is not a number.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Base64 = Annotated[str, Field(description="A JPEG, PNG, WebP, GIF, BMP or TIFF file, base64.")]


class WireModel(BaseModel):
    """Base of everything that travels."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WireProduct(WireModel):
    """A product to embed; a title or an image is required."""

    product_id: Text | None = Field(default=None, description="Comes back with the vector; its place when absent.")
    title: Text | None = None
    category: tuple[Text, ...] = Field(default=(), description="Path from the root to the leaf.")
    attributes: dict[Text, str | tuple[str, ...]] = Field(default_factory=dict)
    description: Text | None = None
    images: tuple[Base64, ...] = ()


class EmbedRequest(WireModel):
    """Products to embed."""

    products: tuple[WireProduct, ...]


class EmbedResponse(WireModel):
    """Vectors in the order of the request, L2-normalised."""

    product_ids: tuple[str, ...]
    vectors: tuple[tuple[float, ...], ...]
    dims: int
    model_digest: str


class QueryRequest(WireModel):
    """A shopper's words, photograph, or both."""

    text: str | None = None
    image: Base64 | None = None


class QueryResponse(WireModel):
    """The query's vector, L2-normalised."""

    vector: tuple[float, ...]
    dims: int
    model_digest: str


class SearchRequest(QueryRequest):
    """A query and how many products to find."""

    k: int | None = Field(default=None, description="Hits wanted; the service's default when absent.")


class WireHit(WireModel):
    """One product found."""

    product_id: str
    score: float = Field(description="Cosine of query and product.")
    title: str | None
    category: tuple[str, ...]
    price: float | None
    group_id: str
    image: str | None = Field(description="Reference of its first photograph in the catalogue.")


class SearchResponse(WireModel):
    """Products found, best first."""

    hits: tuple[WireHit, ...]
    model_digest: str


class HealthResponse(WireModel):
    """The encoder and the index have just answered a query."""

    status: str
    model_digest: str
    num_products: int
