"""What an encoder is given: a row together with its photographs, already stripped of what it must not see."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import ConfigError
from catalog.images import Photo
from catalog.rows import Product

ALL_ATTRIBUTES = "attributes"
HIDEABLE = ("title", "category", "images", "description", ALL_ATTRIBUTES)
ATTRIBUTE_PREFIX = "attributes."


@dataclass(frozen=True)
class ProductItem:
    """A product and its usable photographs, in the order of `product.images`."""

    product: Product
    photos: tuple[Photo, ...] = ()


@dataclass(frozen=True)
class QueryItem:
    """What a shopper gives: words, a photograph, or both."""

    query_id: str
    text: str | None = None
    photo: Photo | None = None


def hide_fields(item: ProductItem, hide: frozenset[str]) -> ProductItem:
    """Remove what is under test, so that no encoder can read the answer.

    The one place where hiding happens: encoders call it first and tokenise what is left.

    Args:
        item: The product as the catalogue has it.
        hide: Any of `title`, `category` (all levels), `images`, `description`, `attributes` (all), `attributes.NAME`.

    Raises:
        ConfigError: A name that is none of these; a misspelt field would otherwise leak.
    """
    if not hide:
        return item
    unknown = [name for name in hide if name not in HIDEABLE and not name.startswith(ATTRIBUTE_PREFIX)]
    if unknown:
        raise ConfigError(
            "unknown field to hide",
            where="hide",
            got=", ".join(sorted(unknown)),
            allowed=", ".join((*HIDEABLE, ATTRIBUTE_PREFIX + "NAME")),
        )
    dropped = {name.removeprefix(ATTRIBUTE_PREFIX) for name in hide if name.startswith(ATTRIBUTE_PREFIX)}
    changes: dict[str, object] = {}
    if "title" in hide:
        changes["title"] = None
    if "category" in hide:
        changes["category"] = ()
    if "description" in hide:
        changes["description"] = None
    if ALL_ATTRIBUTES in hide:
        changes["attributes"] = {}
    elif dropped:
        kept = {name: value for name, value in item.product.attributes.items() if name not in dropped}
        changes["attributes"] = kept
    if "images" in hide:
        changes |= {"images": (), "image_roles": (), "boxes": ()}
    # model_copy does not validate: a product stripped of title and images is still one row for the encoder.
    product = item.product.model_copy(update=changes)
    return ProductItem(product, () if "images" in hide else item.photos)
