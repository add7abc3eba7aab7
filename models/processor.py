"""The one way from an item to tensors: training, evaluation and serving all come through here.

A product becomes: M original photographs, M core crops, title, [description], category, attributes. A query becomes
its photograph and crop, then its words; a label text is a query of words alone.

The decoder is causal: the vector of a product depends on the order of its photographs, which is the catalogue's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from catalog import Photo, Product, ProductItem, QueryItem, hide_fields
from catalog.labels import attribute_label, category_label
from models.backbones import PictureLayout, build_template, picture_layout
from models.batch import Batch, TokenSequence, collate
from models.config import ModelConfig
from models.pictures import PictureSource
from models.regions.wanted import Wanted
from models.template import Mark, Template
from models.tokenizer import text_ids
from models.tokens import TokenType

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
        tokenizer: The backbone's.
        config: The model's section of the configuration.
        pictures: Where a photograph's squares come from.
        layout: How a square becomes numbers and tokens.
        template: How the backbone spells what stands between the fields.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: ModelConfig,
        pictures: PictureSource,
        layout: PictureLayout,
        template: Template,
    ) -> None:
        self.tokenizer, self.config, self.pictures = tokenizer, config, pictures
        self.layout, self.template = layout, template
        # A late fusion shows its decoder words alone; the pictures reach the head past it.
        self.shows_pictures = config.fusion == "decoder"

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, config: ModelConfig, pictures: PictureSource, spec: dict[str, Any] | None = None
    ) -> Processor:
        """With the layout and template of the configured backbone, or of the one that `spec` tells."""
        return cls(tokenizer, config, pictures, picture_layout(config, spec), build_template(config, tokenizer))

    def product(self, item: ProductItem, hide: frozenset[str] = frozenset()) -> Encoded:
        """Tokens and squares of a product without the hidden fields.

        The core region, too, is found from what is left: a hidden title must not steer the crop.
        """
        item = hide_fields(item, hide)
        product = item.product
        squares = self._squares(item.photos[: self.config.max_images], Wanted.of(product))
        return Encoded(self.product_sequence(product, len(squares) // self._views), self._originals_first(squares))

    def query(self, item: QueryItem) -> Encoded:
        """Tokens and squares of a query."""
        squares = self._squares([item.photo] if item.photo else [], Wanted(item.text))
        return Encoded(self.query_sequence(item.text, len(squares) // self._views), self._originals_first(squares))

    def label(self, text: str) -> Encoded:
        """Tokens of a label text."""
        return Encoded(self.query_sequence(text, 0), [])

    def product_sequence(self, product: Product, num_photos: int) -> TokenSequence:
        """Tokens of a product with `num_photos` photographs, from the fields that it still has."""
        cfg = self.config
        parts = self._begun(num_photos)
        if product.title:
            self._add_text(parts, Mark.TITLE, product.title, TokenType.TITLE, cfg.max_title_tokens)
        if cfg.use_description and product.description:
            self._add_text(parts, Mark.DESCRIPTION, product.description, TokenType.OTHER, cfg.max_description_tokens)
        if product.category:
            text = category_label(product.category)
            self._add_text(parts, Mark.CATEGORY, text, TokenType.CATEGORY, cfg.max_field_tokens)
        if product.attributes:
            text = attributes_text(product)
            self._add_text(parts, Mark.ATTRIBUTE, text, TokenType.ATTRIBUTE, cfg.max_field_tokens)
        return self._ended(parts, num_photos)

    def query_sequence(self, text: str | None, num_photos: int) -> TokenSequence:
        """Tokens of a query or label with `num_photos` photographs."""
        parts = self._begun(num_photos)
        if text:
            self._add_text(parts, Mark.TEXT, text, TokenType.TITLE, self.config.max_text_tokens)
        return self._ended(parts, num_photos)

    def longest_product(self) -> TokenSequence:
        """A product that fills every budget, its words padding."""
        cfg = self.config
        parts = self._begun(cfg.max_images)
        self._add_ids(parts, Mark.TITLE, self._filler(cfg.max_title_tokens), TokenType.TITLE)
        if cfg.use_description:
            self._add_ids(parts, Mark.DESCRIPTION, self._filler(cfg.max_description_tokens), TokenType.OTHER)
        self._add_ids(parts, Mark.CATEGORY, self._filler(cfg.max_field_tokens), TokenType.CATEGORY)
        self._add_ids(parts, Mark.ATTRIBUTE, self._filler(cfg.max_field_tokens), TokenType.ATTRIBUTE)
        return self._ended(parts, cfg.max_images)

    def longest_query(self) -> TokenSequence:
        """A query with a photograph and as many words as its budget, its words padding."""
        parts = self._begun(1)
        self._add_ids(parts, Mark.TEXT, self._filler(self.config.max_text_tokens), TokenType.TITLE)
        return self._ended(parts, 1)

    def collate(self, items: Sequence[Encoded]) -> Batch:
        """Pad and stack; every square is a picture of its own."""
        squares = [square for item in items for square in item.squares]
        sequences = [item.sequence for item in items]
        return collate(sequences, range(len(squares)), self.pixels(squares), self.template.pad_id)

    def pixels(self, squares: Sequence[np.ndarray]) -> torch.Tensor:
        """Squares to (N, 3, side, side) float32, normalised as the vision tower expects."""
        side = self.layout.side_px
        stacked = np.stack(squares) if squares else np.zeros((0, side, side, 3), np.uint8)
        return self.normalised(torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div_(255.0))

    def normalised(self, pixels_NCHW: torch.Tensor) -> torch.Tensor:
        """Pixels in [0, 1] to what the vision tower expects; in place."""
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (self.layout.mean, self.layout.std))
        return pixels_NCHW.sub_(mean).div_(std)

    @property
    def _views(self) -> int:
        return 2 if self.config.use_crops else 1

    def _squares(self, photos: Iterable[Photo], wanted: Wanted) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for photo in photos:
            found.extend(self.pictures.squares(photo, wanted)[: self._views])
        return found

    def _originals_first(self, squares: list[np.ndarray]) -> list[np.ndarray]:
        return [*squares[0 :: self._views], *squares[1 :: self._views]] if self._views == 2 else squares

    def _begun(self, num_photos: int) -> _Parts:
        parts = _Parts(self.template.positions == "mrope")
        if self.config.order == "pictures_first":
            self._add_pictures(parts, num_photos)
        return parts

    def _add_pictures(self, parts: _Parts, num_photos: int) -> None:
        kinds = (TokenType.IMAGE, TokenType.CROP)[: self._views]
        for kind in kinds:
            for _ in range(num_photos):
                if not self.shows_pictures:
                    parts.num_pictures += 1
                    continue
                parts.text(self.template.before_picture, TokenType.OTHER)
                parts.picture(self.template.image_id, kind, self.layout.rows, self.layout.columns)
                parts.text(self.template.after_picture, TokenType.OTHER)

    def _add_text(self, parts: _Parts, mark: Mark, text: str, kind: TokenType, max_tokens: int) -> None:
        self._add_ids(parts, mark, text_ids(self.tokenizer, text, max_tokens), kind)

    def _add_ids(self, parts: _Parts, mark: Mark, ids: Sequence[int], kind: TokenType) -> None:
        if ids:
            parts.text(self.template.marks[mark], TokenType.OTHER)
            parts.text(ids, kind)

    def _filler(self, num: int) -> list[int]:
        return [self.template.pad_id] * num

    def _ended(self, parts: _Parts, num_photos: int) -> TokenSequence:
        if self.config.order == "words_first":
            self._add_pictures(parts, num_photos)
        if not parts.ids:
            # Everything may be hidden; one mark keeps the mean over tokens defined.
            parts.text(self.template.marks[Mark.EMPTY], TokenType.OTHER)
        if self.config.slots:
            # The model puts its own learnt vectors here; the ids only hold the place.
            parts.text((self.template.pad_id,), TokenType.CATEGORY_SLOT)
            parts.text((self.template.pad_id,), TokenType.ATTRIBUTE_SLOT)
        return TokenSequence(parts.ids, parts.types, parts.positions, parts.num_pictures)


class _Parts:
    """Grows one sequence."""

    def __init__(self, in_rows: bool) -> None:
        self.in_rows = in_rows
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

    def picture(self, token_id: int, kind: TokenType, rows: int, columns: int) -> None:
        """Rows and columns of one moment, after whose longer side the text goes on, as in Qwen2.5-VL."""
        self.num_pictures += 1
        if not self.in_rows:
            self.text([token_id] * (rows * columns), kind)
            return
        start = self.next_position
        self.ids += [token_id] * (rows * columns)
        self.types += [int(kind)] * (rows * columns)
        self.positions += [(start, start + row, start + column) for row in range(rows) for column in range(columns)]
        self.next_position += max(rows, columns)


def attributes_text(product: Product) -> str:
    """`colour: red; size: L, XL`: in the order of the names, so that the row's order is no signal.

    Each pair reads as its label text does, so that a label is no new language.
    """
    return ATTRIBUTE_SEPARATOR.join(
        attribute_label(name, value if isinstance(value, str) else ", ".join(value))
        for name, value in sorted(product.attributes.items())
    )
