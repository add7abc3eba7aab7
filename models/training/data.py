"""From a step number to the tensors of that step: pairs, dropped fields, views, labels, augmented pictures."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from catalog import Catalog, Photo, Product
from models.backbones import SeenPictures
from models.batch import Batch, TokenSequence, collate
from models.config import TrainConfig
from models.losses import query_weight
from models.negatives import answers, candidate_codes, codes_of, padded_codes, query_codes
from models.pairs import KINDS, Pair, PairKind, PairTable, usable_photos
from models.pictures import photo_key
from models.processor import Processor
from models.regions.wanted import Wanted
from models.training.picture_store import Shot
from models.training.ranks import Ranks
from models.training.sampler import BatchSampler
from models.training.slots import Features, Picture, Slots, Squares, pixels_of, shots_of
from models.training.train_batch import LabelTargets, TrainBatch, View
from models.training.views import (
    LabelField,
    TextView,
    draw_fields,
    draw_hidden,
    draw_hidden_words,
    draw_labels,
    draw_text_view,
    facts_of,
    visible,
)


@dataclass
class _Sequences:
    """Sequences of one forward pass with the pictures in their slots."""

    pad_id: int
    items: list[TokenSequence] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """Row of the batch that each is of."""

    def add(self, row: int, item: TokenSequence, pictures: Sequence[int]) -> None:
        self.rows.append(row)
        self.items.append(item)
        self.pictures += pictures

    def batch(self) -> Batch:
        return collate(self.items, self.pictures, pad_id=self.pad_id)


def _words(pad_id: int, items: Sequence[TokenSequence]) -> Batch:
    """Sequences without pictures."""
    return collate(items, (), pad_id=pad_id)


class TrainSet(Dataset[TrainBatch]):
    """Batch after batch; a pure function of its number and the rank, so that workers and resumed runs agree.

    Args:
        catalog: Rows of the train side are read from it.
        table: Training pairs.
        fields: Closed questions with their label texts.
        sampler: Which products meet.
        processor: The one preprocessing path.
        store: Squares of every shot; None as long as only outlines of batches are asked for.
        config: The training's section.
        features: What a frozen tower made of pictures, by picture and a number that picks the variant.
        ranks: This process among those that train together; each has products of its own.
    """

    def __init__(
        self,
        catalog: Catalog,
        table: PairTable,
        fields: Sequence[LabelField],
        sampler: BatchSampler,
        processor: Processor,
        store: Squares | None,
        config: TrainConfig,
        features: Features | None = None,
        ranks: Ranks = Ranks(),
    ) -> None:
        self.features, self.ranks = features, ranks
        self.table, self.fields, self.sampler = table, fields, sampler
        self.processor, self.store, self.config = processor, store, config
        self.products = {key: catalog.by_id[key] for key in sampler.product_ids}
        self.photos = {key: usable_photos(catalog, product) for key, product in self.products.items()}
        self.mix = query_mix(table, config)

    def __len__(self) -> int:
        return self.config.steps * self.config.accumulate_batches

    def __getitem__(self, number: int) -> TrainBatch:
        drawn = self._batch(0 if self.config.preset == "overfit_one_batch" else number)
        return replace(drawn, step=number // self.config.accumulate_batches)

    def _batch(self, number: int) -> TrainBatch:
        rng = np.random.default_rng((self.config.seed, number, 1, *self.ranks.entropy))
        drawn = self.sampler.products(number, self.ranks.rank, self.ranks.world)
        pairs = [pair for key in drawn for pair in self._draw_pairs(key, rng)]
        ids = [pair.product_id for pair in pairs]
        products = [self.products[key] for key in ids]
        shown = [self._draw_photos(product, pair, rng) for product, pair in zip(products, pairs, strict=True)]
        reads, pad_id = self.processor.config, self.processor.template.pad_id
        slots, distils = Slots(), self.config.distill_crops > 0
        queries, rows, image_views, plain_queries, plain_rows = (_Sequences(pad_id) for _ in range(5))
        hidden = []
        for row, (product, pair, photos) in enumerate(zip(products, pairs, shown, strict=True)):
            views = self._draw_views(reads.query_views, rng)
            asked = [Shot(pair.photo, Wanted(pair.text), views)] if pair.photo else []
            pictures = slots.add(asked, pair.is_crop)
            queries.add(row, self.processor.query_sequence(pair.text, len(asked), views), pictures)
            if distils and len(pictures) > len(asked):
                plain_queries.add(row, self.processor.query_sequence(pair.text, len(asked), 1), pictures[: len(asked)])
            hide = draw_hidden(product, self.config.dropout, rng, pair.hides, len(photos), reads.use_description)
            hidden.append(hide)
            views = self._draw_views(reads.product_views, rng)
            pictures = slots.add(Shot(photo, Wanted.of(product), views) for photo in photos)
            used = [] if "images" in hide else photos
            left = visible(product, hide)
            rows.add(row, self.processor.product_sequence(left, len(used), views), pictures if used else [])
            if distils and used and views > 1:
                plain_rows.add(row, self.processor.product_sequence(left, len(used), 1), pictures[: len(used)])
            if pictures:
                image_views.add(row, self.processor.query_sequence(None, len(photos), views), pictures)
        unseen = [draw_hidden_words(product, self.config.dropout, rng) for product in products]
        shown_texts = self._text_views(products, rng)
        view_texts, view_says, facts = self._codes_of_texts(shown_texts, products)
        texts, labels = self._texts(number, list(shown_texts.values()), products, hidden, unseen, rng)
        embedded = {View.QUERIES: queries.batch(), View.PRODUCTS: rows.batch()}
        if image_views.items and (labels or self.config.alignment_weight):
            embedded[View.IMAGES] = image_views.batch()
        if labels:
            bare = (visible(product, hide) for product, hide in zip(products, unseen, strict=True))
            embedded[View.WORDS] = _words(pad_id, [self.processor.product_sequence(product, 0) for product in bare])
        if texts is not None:
            embedded[View.TEXTS] = texts
        if plain_queries.items:
            embedded[View.PLAIN_QUERIES] = plain_queries.batch()
        if plain_rows.items:
            embedded[View.PLAIN_PRODUCTS] = plain_rows.batch()
        pixels, seen = self._pictures(slots.pictures, number)
        groups = [product.group_id for product in products]
        categories = [self.sampler.category_of[key] for key in ids]
        digests = {key: frozenset(photo_key(photo) for photo in self.photos[key]) for key in ids}
        asked_photos = [photo_key(pair.photo) if pair.photo else "" for pair in pairs]
        accepted = [pair.accepted if self.config.mask_accepted else frozenset() for pair in pairs]
        signals = self.config.signals.model_dump() if self.config.signals is not None else None
        return TrainBatch(
            step=number,
            product_ids=tuple(ids),
            kinds=tuple(pair.kind for pair in pairs),
            pixels_NCHW=pixels,
            seen=seen,
            views=embedded,
            image_view_rows=torch.tensor(image_views.rows, dtype=torch.long),
            text_view_rows=torch.tensor(list(shown_texts), dtype=torch.long),
            plain_query_rows=torch.tensor(plain_queries.rows, dtype=torch.long),
            plain_product_rows=torch.tensor(plain_rows.rows, dtype=torch.long),
            view_texts_B=view_texts,
            view_says_BS=view_says,
            facts_BF=facts,
            query_codes=query_codes(ids, groups, categories, asked_photos, accepted),
            product_codes=candidate_codes(ids, groups, categories, [digests[key] for key in ids]),
            kind_B=torch.tensor([KINDS.index(pair.kind) for pair in pairs]),
            weight_B=torch.tensor([query_weight(pair.signal, pair.weight, signals) for pair in pairs]),
            labels=tuple(labels),
        )

    def _draw_pairs(self, product_id: str, rng: np.random.Generator) -> list[Pair]:
        """One pair of the product, of a kind that is drawn too, or one of each of its kinds."""
        kinds = self.table.by_product[product_id]
        present = [kind for kind in KINDS if kind in kinds]
        weights = np.array([self.mix[kind] for kind in present])
        if not weights.sum():
            weights = np.ones(len(present))
        if self.config.query_views == "drawn":
            present = [present[int(rng.choice(len(present), p=weights / weights.sum()))]]
        else:
            present = [kind for kind, weight in zip(present, weights, strict=True) if weight]
        return [kinds[kind][int(rng.integers(len(kinds[kind])))] for kind in present]

    def _draw_views(self, views: int, rng: np.random.Generator) -> int:
        """1 where crops are to be left out this time. Nothing is drawn where none may be."""
        dropped = self.config.dropout.crops
        return 1 if views > 1 and dropped and rng.random() < dropped else views

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

    def _text_views(self, products: Sequence[Product], rng: np.random.Generator) -> dict[int, TextView]:
        """By row of the batch, in its order."""
        if not self.config.alignment_weight:
            return {}
        drawn = {row: draw_text_view(product, rng) for row, product in enumerate(products)}
        return {row: view for row, view in drawn.items() if view is not None and view.text}

    def _codes_of_texts(
        self, shown: Mapping[int, TextView], products: Sequence[Product]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        nothing, asked = TextView(""), self.config.mask_described
        views = [shown.get(row, nothing) for row in range(len(products))]
        return (
            codes_of(view.text for view in views),
            padded_codes([view.facts if asked else frozenset() for view in views]),
            padded_codes([facts_of(product) if asked else frozenset() for product in products]),
        )

    def _texts(
        self,
        number: int,
        shown: Sequence[TextView],
        products: Sequence[Product],
        hidden: Sequence[frozenset[str]],
        unseen: Sequence[frozenset[str]],
        rng: np.random.Generator,
    ) -> tuple[Batch | None, list[LabelTargets]]:
        texts = [view.text for view in shown]
        labels: list[LabelTargets] = []
        if self.config.label_weight and self.fields:
            rank, world = self.ranks.rank, self.ranks.world
            if world > 1:
                # Not this rank's own draws: all compare the same texts, and each encodes its part of them.
                rng = np.random.default_rng((self.config.seed, number, 3))
            everyone = [key for one in range(world) for key in self.sampler.products(number, one, world)]
            names: list[str] = []
            for field in draw_fields(self.fields, rng):
                drawn = draw_labels(field, everyone, self.config.max_labels, rng)
                if len(drawn) < 2:
                    continue
                right = answers([field.answers.get(one.product_id, frozenset()) for one in products], drawn)
                may_see = torch.tensor([field.hides in hide for hide in hidden])
                words_may_see = torch.tensor([field.hides in hide for hide in unseen])
                labels.append(LabelTargets(len(names), right, may_see, words_may_see))
                names += drawn
            texts += names[len(names) * rank // world : len(names) * (rank + 1) // world]
        if not texts:
            return None, labels
        sequences = [self.processor.query_sequence(text, 0) for text in texts]
        return _words(self.processor.template.pad_id, sequences), labels

    def _pictures(self, pictures: Sequence[Picture], number: int) -> tuple[torch.Tensor, SeenPictures | None]:
        draw = int(np.random.SeedSequence((self.config.seed, number, 2, *self.ranks.entropy)).generate_state(1)[0])
        if self.features is not None:
            picks = np.random.default_rng(draw).integers(0, 1 << 30, len(pictures))
            return self.processor.pixels([]), self.features(pictures, picks)
        if not pictures:
            return self.processor.pixels([]), None
        if self.store is None:
            side = self.processor.layout.side_px
            return torch.empty((len(pictures), 3, side, side), device="meta"), None
        return pixels_of(pictures, self.store, self.processor, self.config.augment, draw), None

    def outline(self, number: int, with_pixels: bool = True) -> TrainBatch:
        """A batch of which no photograph is decoded.

        Args:
            number: Of the batch.
            with_pixels: Pixels have their shape, on the device `meta`; else there are none, as where features are kept.
        """
        bare = copy.copy(self)
        bare.store, bare.features = None, None
        drawn = bare[number]
        return drawn if with_pixels else replace(drawn, pixels_NCHW=self.processor.pixels([]))

    def shots(self) -> list[Shot]:
        """Every photograph that some step may ask for."""
        return shots_of(self.products.values(), self.photos, self.table, self.processor.config)


def query_mix(table: PairTable, config: TrainConfig) -> Mapping[PairKind, float]:
    """The configured mix; a product draws among the kinds that it has."""
    return {"image": config.query_mix.image, "text": config.query_mix.text, "both": config.query_mix.both}
