"""The two rows every catalogue is made of: a product, and a query that led to products."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
"""Version of the row schema; written into every file that holds rows."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the image after its EXIF rotation, x1 > x0 and y1 > y0."""

AttributeValue = str | tuple[str, ...]
NonEmpty = Annotated[str, Field(min_length=1)]


class QueryKind(StrEnum):
    """What a query is made of."""

    TEXT = "text"
    PHOTO = "photo"
    BOTH = "both"
    LINK = "link"
    REVIEW = "review"
    SET = "set"
    PHOTO_LABEL = "photo_label"


class Signal(StrEnum):
    """How strongly the shopper said that the product was the right one."""

    PURCHASE = "purchase"
    CART = "cart"
    CLICK = "click"
    NONE = "none"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_box(box: Box | None) -> None:
    if box is not None and not (box[2] > box[0] and box[3] > box[1]):
        raise ValueError(f"box {box} is empty: x1 must be above x0 and y1 above y0")


class Product(_Row):
    """One article a shop sells.

    Only `product_id` and one of `title` or `images` are required. Every colour of an article is a product of its
    own; `group_id` ties the colours together, and a split never divides a group.
    """

    product_id: NonEmpty
    group_id: NonEmpty = Field(description="Variants of one article share it; the product_id where not given.")
    title: str | None = None
    category: tuple[NonEmpty, ...] = Field(default=(), description="Path from the root to the leaf.")
    attributes: dict[str, AttributeValue] = Field(default_factory=dict)
    description: str | None = None
    images: tuple[NonEmpty, ...] = Field(default=(), description="References relative to the catalogue's root.")
    image_roles: tuple[str, ...] = Field(default=(), description="In step with images: main, back, alt, ...")
    boxes: tuple[Box | None, ...] = Field(default=(), description="True core boxes, in step with images, pixels.")
    price: float | None = Field(default=None, ge=0)
    url: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict, description="Columns the schema does not know.")

    @model_validator(mode="before")
    @classmethod
    def _group_defaults_to_product(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("group_id") and "product_id" in data:
            return {**data, "group_id": data["product_id"]}
        return data

    @model_validator(mode="after")
    def _is_whole(self) -> Product:
        if not self.title and not self.images:
            raise ValueError("a product needs a title or at least one image")
        for name in ("image_roles", "boxes"):
            values = getattr(self, name)
            if values and len(values) != len(self.images):
                raise ValueError(f"{name} has {len(values)} entries for {len(self.images)} images")
        for box in self.boxes:
            _check_box(box)
        return self


class Query(_Row):
    """What a shopper asked and which products answered it.

    Relevance is what `product_ids` lists and nothing else: where a source means the whole group, its adapter lists
    the group's products.
    """

    query_id: NonEmpty
    kind: QueryKind
    text: str | None = None
    image: str | None = Field(default=None, description="Reference relative to the catalogue's root.")
    box: Box | None = Field(default=None, description="True core box of the query's photo, pixels.")
    product_ids: tuple[NonEmpty, ...] = ()
    anchor_ids: tuple[NonEmpty, ...] = Field(default=(), description="Products a link or set query starts from.")
    label: str | None = None
    timestamp: float | None = Field(default=None, description="Seconds since 1970-01-01 UTC.")
    weight: float = Field(default=1.0, ge=0)
    signal: Signal = Signal.NONE
    augmented: bool = Field(default=False, description="The photo is an edit or crop of a catalogue photo.")
    extra: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Query:
        needs: dict[QueryKind, tuple[str, ...]] = {
            QueryKind.TEXT: ("text", "product_ids"),
            QueryKind.PHOTO: ("image", "product_ids"),
            QueryKind.BOTH: ("text", "image", "product_ids"),
            QueryKind.LINK: ("anchor_ids", "product_ids"),
            QueryKind.SET: ("product_ids",),
            QueryKind.REVIEW: ("text", "product_ids"),
            QueryKind.PHOTO_LABEL: ("image", "label"),
        }
        missing = [name for name in needs[self.kind] if not getattr(self, name)]
        if missing:
            raise ValueError(f"a query of kind {self.kind} needs {' and '.join(missing)}")
        _check_box(self.box)
        return self
