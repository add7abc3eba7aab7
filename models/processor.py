"""The one way from an item to tensors: training, evaluation and serving all come through here.

A product becomes: M original photographs, M core crops, title, [description], category, attributes. A query becomes
its photograph and crop, then its words; a label text is a query of words alone.

The decoder is causal: the vector of a product depends on the order of its photographs, which is the catalogue's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from catalog import Product, ProductItem, QueryItem, hide_fields
from catalog.labels import attribute_label, category_label
from models import tokens
from models.batch import Batch, TokenSequence, collate
from models.config import ModelConfig
from models.pictures import IMAGE_MEAN, IMAGE_STD, PictureSource
from models.tokenizer import text_ids
from models.tokens import SPECIAL_TOKENS, TokenType

_ID = {token: index for index, token in enumerate(SPECIAL_TOKENS)}
ATTRIBUTE_SEPARATOR = "; "


@dataclass(frozen=True)
class Encoded:
    """An item as tokens and the squares for its picture slots."""

    sequence: TokenSequence
    squares: list[np.ndarray]
    """One (side, side, 3) uint8 a slot, originals before crops."""


class Processor:
    """Turns products, queries and label texts into batches.

    Args:
        tokenizer: With the special tokens of `models.tokens`.
        config: The model's section of the configuration.
        pictures: Where a photograph's squares come from.
    """

    def __init__(self, tokenizer: Tokenizer, config: ModelConfig, pictures: PictureSource) -> None:
        self.tokenizer, self.config, self.pictures = tokenizer, config, pictures
        nano = config.nano
        self.grid_side = config.image_side_px // nano.patch_px
        self.tokens_per_picture = (self.grid_side // nano.merge_size) ** 2

    def product(self, item: ProductItem, hide: frozenset[str] = frozenset()) -> Encoded:
        """Tokens and squares of a product without the hidden fields.

        The core region, too, is found from what is left: a hidden title must not steer the crop.
        """
        item = hide_fields(item, hide)
        product = item.product
        squares = self._squares(item.photos[: self.config.max_images], product.title, product.category)
        return Encoded(self.product_sequence(product, len(squares) // self._views), self._originals_first(squares))

    def query(self, item: QueryItem) -> Encoded:
        """Tokens and squares of a query."""
        squares = self._squares([item.photo] if item.photo else [], item.text, ())
        return Encoded(self.query_sequence(item.text, len(squares) // self._views), self._originals_first(squares))

    def label(self, text: str) -> Encoded:
        """Tokens of a label text."""
        return Encoded(self.query_sequence(text, 0), [])

    def product_sequence(self, product: Product, num_photos: int) -> TokenSequence:
        """Tokens of a product with `num_photos` photographs, from the fields that it still has."""
        cfg = self.config
        parts = _Parts()
        self._add_pictures(parts, num_photos)
        if product.title:
            self._add_text(parts, tokens.TITLE_MARK, product.title, TokenType.TITLE, cfg.max_title_tokens)
        if cfg.use_description and product.description:
            self._add_text(
                parts, tokens.DESCRIPTION_MARK, product.description, TokenType.OTHER, cfg.max_description_tokens
            )
        if product.category:
            text = category_label(product.category)
            self._add_text(parts, tokens.CATEGORY_MARK, text, TokenType.CATEGORY, cfg.max_field_tokens)
        if product.attributes:
            text = attributes_text(product)
            self._add_text(parts, tokens.ATTRIBUTE_MARK, text, TokenType.ATTRIBUTE, cfg.max_field_tokens)
        return parts.sequence()

    def query_sequence(self, text: str | None, num_photos: int) -> TokenSequence:
        """Tokens of a query or label with `num_photos` photographs."""
        parts = _Parts()
        self._add_pictures(parts, num_photos)
        if text:
            self._add_text(parts, tokens.TEXT_MARK, text, TokenType.TITLE, self.config.max_text_tokens)
        return parts.sequence()

    def collate(self, items: Sequence[Encoded]) -> Batch:
        """Pad and stack; every square is a picture of its own."""
        squares = [square for item in items for square in item.squares]
        patches, grid = self.patches(squares)
        return collate([item.sequence for item in items], range(len(squares)), patches, grid)

    def patches(self, squares: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Squares to Qwen's patch layout.

        Returns:
            (N * patches, 3 * patch_px ** 2) float32 and grids (N, 3) of time, height, width.
        """
        return self.patches_of_pixels(self.pixels(squares))

    def pixels(self, squares: Sequence[np.ndarray]) -> torch.Tensor:
        """Squares to (N, 3, side, side) float32 in [-1, 1]."""
        side = self.config.image_side_px
        stacked = np.stack(squares) if squares else np.zeros((0, side, side, 3), np.uint8)
        pixels_NHWC = torch.from_numpy(stacked).float().div_(255.0).sub_(IMAGE_MEAN).div_(IMAGE_STD)
        return pixels_NHWC.permute(0, 3, 1, 2)

    def patches_of_pixels(self, pixels_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised pixels to Qwen's layout: patches in the order of the merge blocks, each as channel, row, column.

        Source: transformers' Qwen2VLImageProcessor, with temporal_patch_size 1.
        """
        nano, side = self.config.nano, self.grid_side
        blocks = side // nano.merge_size
        num = pixels_NCHW.shape[0]
        cut = pixels_NCHW.reshape(
            num, 3, blocks, nano.merge_size, nano.patch_px, blocks, nano.merge_size, nano.patch_px
        )
        patches = cut.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(num * side * side, 3 * nano.patch_px**2)
        return patches, torch.tensor([[1, side, side]]).repeat(num, 1)

    @property
    def _views(self) -> int:
        return 2 if self.config.use_crops else 1

    def _squares(self, photos: Iterable[object], title: str | None, category: tuple[str, ...]) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for photo in photos:
            found.extend(self.pictures.squares(photo, title, category)[: self._views])  # type: ignore[arg-type]
        return found

    def _originals_first(self, squares: list[np.ndarray]) -> list[np.ndarray]:
        return [*squares[0 :: self._views], *squares[1 :: self._views]] if self._views == 2 else squares

    def _add_pictures(self, parts: _Parts, num_photos: int) -> None:
        kinds = (TokenType.IMAGE, TokenType.CROP)[: self._views]
        side = math.isqrt(self.tokens_per_picture)
        for kind in kinds:
            for _ in range(num_photos):
                parts.text([_ID[tokens.VISION_START]], TokenType.OTHER)
                parts.picture(_ID[tokens.IMAGE_PAD], kind, side)
                parts.text([_ID[tokens.VISION_END]], TokenType.OTHER)

    def _add_text(self, parts: _Parts, mark: str, text: str, kind: TokenType, max_tokens: int) -> None:
        ids = text_ids(self.tokenizer, text, max_tokens)
        if ids:
            parts.text([_ID[mark]], TokenType.OTHER)
            parts.text(ids, kind)


class _Parts:
    """Grows one sequence."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.types: list[int] = []
        self.positions: list[tuple[int, int, int]] = []
        self.next_position = 0
        self.num_pictures = 0

    def text(self, ids: Sequence[int], kind: TokenType) -> None:
        self.ids += ids
        self.types += [int(kind)] * len(ids)
        self.positions += [(self.next_position + i,) * 3 for i in range(len(ids))]
        self.next_position += len(ids)

    def picture(self, token_id: int, kind: TokenType, side: int) -> None:
        """side x side tokens at one moment; the text goes on after the longer side, as in Qwen2.5-VL."""
        start = self.next_position
        self.ids += [token_id] * (side * side)
        self.types += [int(kind)] * (side * side)
        self.positions += [(start, start + row, start + column) for row in range(side) for column in range(side)]
        self.next_position += side
        self.num_pictures += 1

    def sequence(self) -> TokenSequence:
        if not self.ids:
            # Everything may be hidden; one mark keeps the mean over tokens defined.
            self.text([_ID[tokens.EMPTY_MARK]], TokenType.OTHER)
        return TokenSequence(self.ids, self.types, self.positions, self.num_pictures)


def attributes_text(product: Product) -> str:
    """`colour: red; size: L, XL`: in the order of the names, so that the row's order is no signal.

    Each pair reads as its label text does, so that a label is no new language.
    """
    return ATTRIBUTE_SEPARATOR.join(
        attribute_label(name, value if isinstance(value, str) else ", ".join(value))
        for name, value in sorted(product.attributes.items())
    )
