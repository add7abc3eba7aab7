"""The one way from an item to tensors: training, evaluation and serving all come through here.

A product becomes: M original photographs, M core crops, title, [description], category, attributes. A query becomes
its photograph and crop, then its words; a label text is a query of words alone. Each side has its crops or goes without
(`model.crops`).

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

    def configured(self, config: ModelConfig) -> Processor:
        """The same but for what stands in a sequence: pictures keep their size, whose budget may count other crops."""
        return Processor(self.tokenizer, config, self.pictures, self.layout, self.template)

    def product(self, item: ProductItem, hide: frozenset[str] = frozenset()) -> Encoded:
        """Tokens and squares of a product without the hidden fields.

        The core region, too, is found from what is left: a hidden title must not steer the crop.
        """
        item = hide_fields(item, hide)
        product = item.product
        photos, views = item.photos[: self.config.max_images], self.config.product_views
        squares = self._squares(photos, Wanted.of(product), views)
        return Encoded(self.product_sequence(product, len(photos)), squares)

    def query(self, item: QueryItem) -> Encoded:
        """Tokens and squares of a query."""
        photos = [item.photo] if item.photo else []
        squares = self._squares(photos, Wanted(item.text), self.config.query_views)
        return Encoded(self.query_sequence(item.text, len(photos)), squares)

    def label(self, text: str) -> Encoded:
        """Tokens of a label text."""
        return Encoded(self.query_sequence(text, 0), [])

    def product_sequence(self, product: Product, num_photos: int, views: int | None = None) -> TokenSequence:
        """Tokens of a product with `num_photos` photographs, from the fields that it still has.

        Args:
            product: Of which nothing is hidden that must not be read.
            num_photos: Photographs in the sequence.
            views: 1: their originals alone; 2: their crops after them; None: as products have it.
        """
        cfg, views = self.config, views or self.config.product_views
        parts = self._begun(num_photos, views)
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
        return self._ended(parts, num_photos, views)

    def query_sequence(self, text: str | None, num_photos: int, views: int | None = None) -> TokenSequence:
        """Tokens of a query or label with `num_photos` photographs; `views` as in `product_sequence`, of queries."""
        views = views or self.config.query_views
        parts = self._begun(num_photos, views)
        if text:
            self._add_text(parts, Mark.TEXT, text, TokenType.TITLE, self.config.max_text_tokens)
        return self._ended(parts, num_photos, views)

    def longest_product(self) -> TokenSequence:
        """A product that fills every budget, its words padding."""
        cfg, views = self.config, self.config.product_views
        parts = self._begun(cfg.max_images, views)
        self._add_ids(parts, Mark.TITLE, self._filler(cfg.max_title_tokens), TokenType.TITLE)
        if cfg.use_description:
            self._add_ids(parts, Mark.DESCRIPTION, self._filler(cfg.max_description_tokens), TokenType.OTHER)
        self._add_ids(parts, Mark.CATEGORY, self._filler(cfg.max_field_tokens), TokenType.CATEGORY)
        self._add_ids(parts, Mark.ATTRIBUTE, self._filler(cfg.max_field_tokens), TokenType.ATTRIBUTE)
        return self._ended(parts, cfg.max_images, views)

    def longest_query(self) -> TokenSequence:
        """A query with a photograph and as many words as its budget, its words padding."""
        views = self.config.query_views
        parts = self._begun(1, views)
        self._add_ids(parts, Mark.TEXT, self._filler(self.config.max_text_tokens), TokenType.TITLE)
        return self._ended(parts, 1, views)

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

    def _squares(self, photos: Iterable[Photo], wanted: Wanted, views: int) -> list[np.ndarray]:
        """Originals, then crops where `views` is 2."""
        found = [self.pictures.squares(photo, wanted, views) for photo in photos]
        return [squares[view] for view in range(views) for squares in found]

    def _begun(self, num_photos: int, views: int) -> _Parts:
        parts = _Parts(self.template.positions == "mrope")
        if self.config.order == "pictures_first":
            self._add_pictures(parts, num_photos, views)
        return parts

    def _add_pictures(self, parts: _Parts, num_photos: int, views: int) -> None:
        for kind in (TokenType.IMAGE, TokenType.CROP)[:views]:
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

    def _ended(self, parts: _Parts, num_photos: int, views: int) -> TokenSequence:
        if self.config.order == "words_first":
            self._add_pictures(parts, num_photos, views)
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
