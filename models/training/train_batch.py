"""What one batch of a training holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import torch

from models.backbones import SeenPictures
from models.batch import Batch
from models.negatives import CandidateCodes, QueryCodes
from models.pairs import PairKind


class View(StrEnum):
    """What is embedded in a step."""

    QUERIES = "queries"
    PRODUCTS = "products"
    IMAGES = "images"
    """Each product's photographs alone."""
    WORDS = "words"
    """Each product as a row without pictures and category, only asked for labels."""
    TEXTS = "texts"
    """Text views of the products, then this process's part of the label texts."""
    PLAIN_QUERIES = "plain_queries"
    """Queries that have a crop, without it."""
    PLAIN_PRODUCTS = "plain_products"
    """Products that have crops, without them."""


@dataclass(frozen=True)
class LabelTargets:
    """One closed question asked of the batch, the same in every process."""

    first_text: int
    """Row of its first label text among the step's label texts, those of all processes in the order of ranks."""
    right_BL: torch.Tensor
    """True where the label is an answer of the product."""
    product_may_see_B: torch.Tensor
    """True where the field was hidden from the product's own input."""
    words_may_see_B: torch.Tensor
    """True where the field was hidden from the product's word view."""


@dataclass(frozen=True)
class TrainBatch:
    """Everything of one batch; B pairs."""

    step: int
    """The update that it counts for."""
    product_ids: tuple[str, ...]
    kinds: tuple[PairKind, ...]
    pixels_NCHW: torch.Tensor
    """Of every picture of the step; empty where the tower's features are at hand."""
    seen: SeenPictures | None
    """What a frozen tower made of them."""
    views: dict[View, Batch]
    image_view_rows: torch.Tensor
    """Product of each image view."""
    text_view_rows: torch.Tensor
    """Product of each text view."""
    plain_query_rows: torch.Tensor
    """Query of each query without its crop."""
    plain_product_rows: torch.Tensor
    """Product of each product without its crops."""
    view_texts_B: torch.Tensor
    """Code of the words of each product's text view; `EMPTY` where it has none."""
    view_says_BS: torch.Tensor
    """Codes of what those words say; padded with `EMPTY`, no columns where `mask_described` is off."""
    facts_BF: torch.Tensor
    """Codes of what is true of each product; likewise."""
    query_codes: QueryCodes
    product_codes: CandidateCodes
    kind_B: torch.Tensor
    """Kind of each query, numbered as `KINDS`."""
    weight_B: torch.Tensor
    """What each pair counts."""
    labels: tuple[LabelTargets, ...]

    def to(self, device: torch.device) -> TrainBatch:
        moved: dict[str, object] = {}
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                moved[name] = value.to(device)
        moved |= {"query_codes": self.query_codes.to(device), "product_codes": self.product_codes.to(device)}
        moved["views"] = {name: view.to(device) for name, view in self.views.items()}
        moved["seen"] = self.seen.map(lambda one: one.to(device)) if self.seen is not None else None
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
