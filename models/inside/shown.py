"""An item as the model is given it, with the place of every square in its photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from catalog import ModelError, Photo, Product, ProductItem, QueryItem, hide_fields
from models.batch import Batch, collate
from models.encoder import MoonEncoder
from models.inside.frames import Frame, cut_box
from models.pictures import PictureMaker
from models.processor import Encoded, Processor
from models.regions.wanted import Wanted
from models.tokens import TokenType


@dataclass(frozen=True)
class Shown:
    """One product, query or label text as tokens and squares."""

    name: str
    """product_id, query_id or the text itself, for people and error messages."""
    encoded: Encoded
    frames: tuple[Frame, ...]
    """What each of `encoded.squares` shows."""
    product: Product | None = None
    """A product's fields, the hidden ones gone; None for a query."""
    text: str | None = None
    """A query's or label's words."""

    @property
    def types_1L(self) -> torch.Tensor:  # noqa: N802
        """(1, L) token types."""
        return torch.tensor([self.encoded.sequence.types])

    def batch(self, processor: Processor, pixels_NCHW: torch.Tensor, copies: int = 1) -> Batch:
        """The item `copies` times, each with squares of its own.

        Args:
            processor: Knows how to pad.
            pixels_NCHW: Normalised; copies x squares, copy by copy.
            copies: Rows of the batch.
        """
        sequences = [self.encoded.sequence] * copies
        return collate(sequences, range(len(pixels_NCHW)), pixels_NCHW, processor.template.pad_id)


def show_product(encoder: MoonEncoder, item: ProductItem, hide: frozenset[str] = frozenset()) -> Shown:
    """A product without the hidden fields, exactly as `embed_products` sees it.

    Raises:
        ModelError, ImageError: As `embed_products`; names the product.
    """
    seen = hide_fields(item, hide)
    product, photos = seen.product, seen.photos[: encoder.config.max_images]
    encoded = encoder.processor.product(item, hide)
    frames = _frames(encoder, photos, Wanted.of(product), encoder.config.product_views)
    return Shown(product.product_id, encoded, frames, product=product)


def show_query(encoder: MoonEncoder, query: QueryItem | str) -> Shown:
    """A query, or a label text given as plain words, exactly as the encoder sees it."""
    if isinstance(query, str):
        return Shown(query, encoder.processor.label(query), (), text=query)
    photos = [query.photo] if query.photo else []
    frames = _frames(encoder, photos, Wanted(query.text), encoder.config.query_views)
    return Shown(query.query_id, encoder.processor.query(query), frames, text=query.text)


def unit_vector(encoder: MoonEncoder, shown: Shown) -> torch.Tensor:
    """(E,) float32, L2-normalised; on the encoder's device."""
    with torch.no_grad():
        pixels_NCHW = encoder.processor.pixels(shown.encoded.squares)
        batch = shown.batch(encoder.processor, pixels_NCHW).to(encoder.device)
        vector_E: torch.Tensor = encoder.model(batch)[0].float()
    return vector_E


def _frames(encoder: MoonEncoder, photos: Sequence[Photo], wanted: Wanted, views: int) -> tuple[Frame, ...]:
    maker = encoder.processor.pictures
    if not isinstance(maker, PictureMaker):
        raise ModelError(
            "squares cannot be traced back to their photographs",
            got=type(maker).__name__,
            allowed="PictureMaker, which decodes photographs itself",
            fix="explain with an encoder read by MoonEncoder.load",
        )
    originals, crops = [], []
    for number, photo in enumerate(photos):
        image = photo.load(maker.limits)
        size = image.size
        originals.append(Frame(photo, number, TokenType.IMAGE, size, (0, 0, *size)))
        if views > 1 and maker.regions is not None:
            box = maker.regions.core(photo, image, wanted).box
            crops.append(Frame(photo, number, TokenType.CROP, size, cut_box(size, box)))
    return (*originals, *crops)
