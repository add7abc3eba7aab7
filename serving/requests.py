"""From a request to items the encoder takes: every limit is checked here, every photograph decoded here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field

from PIL import Image

from catalog import ImageError, ImageLimits, Photo, Product, ProductItem, QueryItem, decode_image, sha256_hex
from catalog.images import probe_image
from serving.config import ServingConfig
from serving.errors import RequestError
from serving.wire import EmbedRequest, QueryRequest, WireProduct


@dataclass(frozen=True)
class DecodedPhoto(Photo):
    """A photograph that was decoded when it was checked, so that the encoder need not do it again."""

    image: Image.Image | None = field(default=None, repr=False, compare=False)

    def load(self, limits: ImageLimits = ImageLimits()) -> Image.Image:
        """The picture as `catalog.decode_image` made it; a copy, as from any other photo."""
        assert self.image is not None
        return self.image.copy()


class PixelBudget:
    """What the photographs of one request may cost together: decoded, they are in memory at the same time."""

    def __init__(self, max_pixels: int) -> None:
        self.max_pixels = max_pixels
        self.num_pixels = 0

    def spend(self, image: Image.Image, where: str) -> None:
        """Count a photograph by what its header promises, before it is decoded.

        Raises:
            RequestError: It is one too many.
        """
        self.num_pixels += image.width * image.height
        if self.num_pixels > self.max_pixels:
            raise RequestError(
                "the photographs of the request are too large together",
                status=413,
                where=where,
                got=f"{self.num_pixels:,} pixels up to here",
                allowed=f"at most {self.max_pixels:,} pixels in one request",
                fix="send fewer or smaller pictures",
            )


def product_items(request: EmbedRequest, config: ServingConfig) -> list[ProductItem]:
    """The request's products with their photographs.

    Raises:
        RequestError: No product, too many, one without title and image, a text, list or image over its limit, or an
            image that is none.
    """
    if not request.products:
        raise RequestError("request has no products", where="products", allowed="at least 1", fix="send some")
    if len(request.products) > config.max_items_per_request:
        raise RequestError(
            "too many products in one request",
            status=413,
            where="products",
            got=str(len(request.products)),
            allowed=f"at most {config.max_items_per_request}",
            fix="send them in several requests",
        )
    budget = PixelBudget(config.max_request_pixels)
    return [_product_item(wire, place, config, budget) for place, wire in enumerate(request.products)]


def query_item(request: QueryRequest, config: ServingConfig) -> QueryItem:
    """The request's query.

    Raises:
        RequestError: Neither words nor a photograph, a text or image over its limit, or an image that is none.
    """
    text = request.text if request.text and request.text.strip() else None
    if text is None and request.image is None:
        raise RequestError(
            "query is empty", where="text, image", allowed="text, an image, or both", fix="send at least one of them"
        )
    if text is not None:
        _check_text(text, "text", config)
    budget = PixelBudget(config.max_request_pixels)
    photo = None if request.image is None else _photo(request.image, "image", config, budget)
    return QueryItem("query", text, photo)


def hits_wanted(k: int | None, config: ServingConfig) -> int:
    """`k` or the default.

    Raises:
        RequestError: k is out of range.
    """
    if k is None:
        return config.default_k
    if not 1 <= k <= config.max_top_k:
        raise RequestError("k is out of range", where="k", got=str(k)[:40], allowed=f"1 to {config.max_top_k}")
    return k


def _product_item(wire: WireProduct, place: int, config: ServingConfig, budget: PixelBudget) -> ProductItem:
    where = f"products[{place}]"
    if not (wire.title and wire.title.strip()) and not wire.images:
        raise RequestError("product has neither a title nor an image", where=where, fix="send at least one of them")
    if len(wire.images) > config.max_images_per_item:
        raise RequestError(
            "too many images for one product",
            status=413,
            where=f"{where}.images",
            got=str(len(wire.images)),
            allowed=f"at most {config.max_images_per_item}",
        )
    for name, count in (("category", len(wire.category)), ("attributes", len(wire.attributes))):
        if count > config.max_attributes:
            raise RequestError(
                f"too many entries in {name}",
                where=f"{where}.{name}",
                got=str(count),
                allowed=f"at most {config.max_attributes}",
            )
    for name, text in _texts(wire):
        _check_text(text, f"{where}.{name}", config)
    photos = tuple(_photo(data, f"{where}.images[{n}]", config, budget) for n, data in enumerate(wire.images))
    product_id = wire.product_id or str(place)
    product = Product(
        product_id=product_id,
        group_id=product_id,
        title=wire.title,
        category=wire.category,
        attributes=wire.attributes,
        description=wire.description,
        images=tuple(photo.ref for photo in photos),
    )
    return ProductItem(product, photos)


def _texts(wire: WireProduct) -> Iterable[tuple[str, str]]:
    yield from ((name, getattr(wire, name) or "") for name in ("product_id", "title", "description"))
    yield from (("category", level) for level in wire.category)
    for name, value in wire.attributes.items():
        yield "attributes", name
        if isinstance(value, str):
            yield "attributes", value
        else:
            # One attribute with ten thousand values is one long text.
            yield "attributes", " ".join(value)


def _check_text(text: str, where: str, config: ServingConfig) -> None:
    if len(text) > config.max_text_chars:
        raise RequestError(
            "text is too long",
            where=where,
            got=f"{len(text):,} characters",
            allowed=f"at most {config.max_text_chars:,}",
            fix="shorten it",
        )


def _photo(encoded: str, where: str, config: ServingConfig, budget: PixelBudget) -> DecodedPhoto:
    if len(encoded) // 4 * 3 > config.max_image_bytes + 3:
        raise RequestError(
            "image file is too large",
            status=413,
            where=where,
            got=f"about {len(encoded) // 4 * 3:,} bytes",
            allowed=f"at most {config.max_image_bytes:,} bytes",
            fix="shrink the picture",
        )
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            "image is not valid base64",
            where=where,
            got=str(error),
            fix="send the file's bytes in base64, without a data: prefix, or as multipart/form-data",
        ) from None
    try:
        budget.spend(probe_image(data, where, config.image_limits), where)
        image = decode_image(data, where, config.image_limits)
    except ImageError as error:
        raise RequestError(
            error.problem, where=error.where, got=error.got, allowed=error.allowed, fix="send another picture"
        ) from None
    return DecodedPhoto(ref=where, digest=sha256_hex(data), data=data, image=image)
