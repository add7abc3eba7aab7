"""From a step number to the tensors of that step: pairs, dropped fields, views, labels, augmented pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from catalog import Catalog, Photo, Product
from models.batch import Batch, TokenSequence, collate
from models.config import TrainConfig
from models.negatives import answers, same_key, shares_photo
from models.pairs import KINDS, Pair, PairKind, PairTable, usable_photos
from models.pictures import photo_key
from models.processor import Processor
from models.training.augment import augment
from models.training.picture_store import PictureStore, Shot
from models.training.sampler import BatchSampler
from models.training.views import LabelField, draw_hidden, draw_hidden_words, draw_labels, draw_text_view, visible


@dataclass(frozen=True)
class LabelTargets:
    """One closed question asked of the batch."""

    first_text: int
    """Row of its first label text among the texts."""
    right_BL: torch.Tensor
    """True where the label is an answer of the product."""
    product_may_see_B: torch.Tensor
    """True where the field was hidden from the product's own input."""
    words_may_see_B: torch.Tensor
    """True where the field was hidden from the product's word view."""


@dataclass(frozen=True)
class TrainBatch:
    """Everything of one step; B pairs."""

    step: int
    product_ids: tuple[str, ...]
    kinds: tuple[PairKind, ...]
    patches_TC: torch.Tensor
    grid_N3: torch.Tensor
    queries: Batch
    products: Batch
    image_views: Batch | None
    image_view_rows: torch.Tensor
    """Product of each image view."""
    word_views: Batch | None
    """Each product as a row without pictures and category, only asked for labels."""
    texts: Batch | None
    """Text views of the products, then label texts."""
    text_view_rows: torch.Tensor
    """Product of each text view."""
    not_negative_BB: torch.Tensor
    """True where a product must not be a negative of a query."""
    related_BB: torch.Tensor
    """True where two products must not be each other's negatives: the same, or variants of one article."""
    same_text_VV: torch.Tensor
    """True where two text views read the same."""
    labels: tuple[LabelTargets, ...]
    hard_negatives: float
    """Mean number of negatives of the query's own category."""

    def to(self, device: torch.device) -> TrainBatch:
        moved: dict[str, object] = {}
        for name, value in vars(self).items():
            if isinstance(value, (torch.Tensor, Batch)):
                moved[name] = value.to(device)
        labels = tuple(
            LabelTargets(
                one.first_text,
                one.right_BL.to(device),
                one.product_may_see_B.to(device),
                one.words_may_see_B.to(device),
            )
            for one in self.labels
        )
        return replace(self, **moved, labels=labels)  # type: ignore[arg-type]


class _Slots:
    """Collects the pictures of a step; a picture used in several sequences is encoded once."""

    def __init__(self, store: PictureStore, views: int) -> None:
        self.store, self.views = store, views
        self.squares: list[np.ndarray] = []
        self.strong: list[bool] = []

    def add(self, shots: Iterable[Shot], strong: bool = False) -> list[int]:
        """Pictures of the shots, originals first; returns their numbers."""
        stacked = [self.store.squares(shot) for shot in shots]
        numbers = []
        for view in range(self.views):
            for squares in stacked:
                numbers.append(len(self.squares))
                self.squares.append(squares[view])
                self.strong.append(strong)
        return numbers


@dataclass
class _Sequences:
    """Sequences of one forward pass with the pictures in their slots."""

    items: list[TokenSequence]
    pictures: list[int]

    def batch(self) -> Batch:
        empty = torch.zeros((0, 1)), torch.zeros((0, 3), dtype=torch.long)
        return collate(self.items, self.pictures, *empty)


class TrainSet(Dataset[TrainBatch]):
    """The batch of each step; a pure function of the step, so that workers and resumed runs agree.

    Args:
        catalog: Rows of the train side are read from it.
        table: Training pairs.
        fields: Closed questions with their label texts.
        sampler: Which products meet.
        processor: The one preprocessing path.
        store: Squares of every shot.
        config: The training's section.
    """

    def __init__(
        self,
        catalog: Catalog,
        table: PairTable,
        fields: Sequence[LabelField],
        sampler: BatchSampler,
        processor: Processor,
        store: PictureStore,
        config: TrainConfig,
    ) -> None:
        self.table, self.fields, self.sampler = table, fields, sampler
        self.processor, self.store, self.config = processor, store, config
        self.products = {key: catalog.by_id[key] for key in sampler.product_ids}
        self.photos = {key: usable_photos(catalog, product) for key, product in self.products.items()}
        self.mix = query_mix(table, config)

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> TrainBatch:
        rng = np.random.default_rng((self.config.seed, step, 1))
        products = [self.products[key] for key in self.sampler.products(step)]
        pairs = [self._draw_pair(product, rng) for product in products]
        shown = [self._draw_photos(product, pair, rng) for product, pair in zip(products, pairs, strict=True)]
        views = 2 if self.processor.config.use_crops else 1
        slots = _Slots(self.store, views)
        queries, rows, image_views = _Sequences([], []), _Sequences([], []), _Sequences([], [])
        view_rows, hidden = [], []
        for row, (product, pair, photos) in enumerate(zip(products, pairs, shown, strict=True)):
            queries.pictures += slots.add([Shot(pair.photo, pair.text)] if pair.photo else [], pair.is_crop)
            queries.items.append(self.processor.query_sequence(pair.text, 1 if pair.photo else 0))
            hide = draw_hidden(product, self.config.dropout, rng) | pair.hides
            hidden.append(hide)
            pictures = slots.add(Shot(photo, product.title, product.category) for photo in photos)
            used = [] if "images" in hide else pictures
            rows.pictures += used
            rows.items.append(self.processor.product_sequence(visible(product, hide), len(used) // views))
            if pictures:
                view_rows.append(row)
                image_views.pictures += pictures
                image_views.items.append(self.processor.query_sequence(None, len(photos)))
        unseen = [draw_hidden_words(product, self.config.dropout, rng) for product in products]
        texts, text_rows, same_text, labels = self._texts(products, hidden, unseen, rng)
        word_views = [
            self.processor.product_sequence(visible(product, hide), 0)
            for product, hide in zip(products, unseen, strict=True)
        ]
        patches, grid = self._pixels(slots, step)
        ids = [product.product_id for product in products]
        related = same_key(ids, ids)
        if self.config.mask_same_group:
            groups = [product.group_id for product in products]
            related = related | same_key(groups, groups)
        photo_digests = [frozenset(photo_key(photo) for photo in self.photos[key]) for key in ids]
        query_digests = [photo_key(pair.photo) if pair.photo else "" for pair in pairs]
        not_negative = (
            related | answers([pair.accepted for pair in pairs], ids) | shares_photo(query_digests, photo_digests)
        )
        hard = same_key(*(2 * [[self.sampler.category_of[key] for key in ids]])) & ~not_negative
        return TrainBatch(
            step=step,
            product_ids=tuple(ids),
            kinds=tuple(pair.kind for pair in pairs),
            patches_TC=patches,
            grid_N3=grid,
            queries=queries.batch(),
            products=rows.batch(),
            image_views=image_views.batch() if image_views.items else None,
            image_view_rows=torch.tensor(view_rows, dtype=torch.long),
            word_views=_Sequences(word_views, []).batch() if labels else None,
            texts=texts,
            text_view_rows=torch.tensor(text_rows, dtype=torch.long),
            not_negative_BB=not_negative,
            related_BB=related,
            same_text_VV=same_text,
            labels=tuple(labels),
            hard_negatives=float(hard.sum()) / len(ids),
        )

    def _draw_pair(self, product: Product, rng: np.random.Generator) -> Pair:
        kinds = self.table.by_product[product.product_id]
        present = [kind for kind in KINDS if kind in kinds]
        weights = np.array([self.mix[kind] for kind in present])
        if not weights.sum():
            weights = np.ones(len(present))
        kind = present[int(rng.choice(len(present), p=weights / weights.sum()))]
        pairs = kinds[kind]
        return pairs[int(rng.integers(len(pairs)))]

    def _draw_photos(self, product: Product, pair: Pair, rng: np.random.Generator) -> list[Photo]:
        """Some of the product's photographs, in their order; never the query's own, unless that is a crop of it."""
        photos = self.photos[product.product_id]
        if pair.photo is not None and not pair.is_crop:
            photos = [photo for photo in photos if photo_key(photo) != photo_key(pair.photo)]
        if not photos:
            return []
        most = min(self.config.photos_per_product, self.processor.config.max_images, len(photos))
        num = int(rng.integers(1, most + 1))
        return [photos[index] for index in sorted(rng.permutation(len(photos))[:num])]

    def _texts(
        self,
        products: Sequence[Product],
        hidden: Sequence[frozenset[str]],
        unseen: Sequence[frozenset[str]],
        rng: np.random.Generator,
    ) -> tuple[Batch | None, list[int], torch.Tensor, list[LabelTargets]]:
        texts: list[str] = []
        rows: list[int] = []
        if self.config.alignment_weight:
            for row, product in enumerate(products):
                text = draw_text_view(product, rng)
                if text:
                    rows.append(row)
                    texts.append(text)
        same_text = same_key(texts, texts) if texts else torch.zeros((0, 0), dtype=torch.bool)
        labels: list[LabelTargets] = []
        if self.config.label_weight and self.fields:
            for field in self._draw_fields(rng):
                ids = [product.product_id for product in products]
                names = draw_labels(field, ids, self.config.max_labels, rng)
                if len(names) < 2:
                    continue
                right = answers([field.answers.get(key, frozenset()) for key in ids], names)
                may_see = torch.tensor([field.hides in hide for hide in hidden])
                words_may_see = torch.tensor([field.hides in hide for hide in unseen])
                labels.append(LabelTargets(len(texts), right, may_see, words_may_see))
                texts += names
        if not texts:
            return None, rows, same_text, labels
        sequences = _Sequences([self.processor.query_sequence(text, 0) for text in texts], [])
        return sequences.batch(), rows, same_text, labels

    def _draw_fields(self, rng: np.random.Generator) -> list[LabelField]:
        """The deepest category level, another one, and two attributes."""
        levels = [field for field in self.fields if field.hides == "category"]
        others = [field for field in self.fields if field.hides != "category"]
        drawn = levels[-1:]
        if len(levels) > 1:
            drawn.append(levels[int(rng.integers(len(levels) - 1))])
        drawn += [others[index] for index in sorted(rng.permutation(len(others))[:2])]
        return drawn

    def _pixels(self, slots: _Slots, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not slots.squares:
            return self.processor.patches([])
        pixels = self.processor.pixels(slots.squares)
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence((self.config.seed, step, 2)).generate_state(1)[0])
        )
        return self.processor.patches_of_pixels(
            augment(pixels, torch.tensor(slots.strong), self.config.augment, generator)
        )

    def shots(self) -> list[Shot]:
        """Every photograph that some step may ask for."""
        found = [
            Shot(photo, product.title, product.category)
            for key, product in self.products.items()
            for photo in self.photos[key]
        ]
        return found + [Shot(pair.photo, pair.text) for pair in self.table.pairs() if pair.photo]


def query_mix(table: PairTable, config: TrainConfig) -> Mapping[PairKind, float]:
    """The configured mix; a product draws among the kinds that it has."""
    return {"image": config.query_mix.image, "text": config.query_mix.text, "both": config.query_mix.both}
