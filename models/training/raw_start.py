"""Where the residuals begin: raw signals of the train side, whitened."""

from __future__ import annotations

import logging
from typing import TypeVar

import numpy as np
import torch

from models.batch import collate
from models.moon import MoonModel
from models.raw_signals import CODES, COLOURS, VISION, WORDS, RawSignal
from models.training.data import TrainSet
from models.training.slots import Picture, squares_of

_log = logging.getLogger(__name__)
Item = TypeVar("Item")
MAX_SIGNALS = 8192
BATCH = 64
RIDGE, RIDGES = 0.1, {COLOURS: 10.0}
"""Of `RawSignal.start_whitened`. Rare colours tell less than frequent ones: whitened through, they would drown them."""


@torch.no_grad()
def start_residuals(moon: MoonModel, dataset: TrainSet, device: torch.device = torch.device("cpu")) -> None:
    """Whiten the residuals by what the pictures and words of the train side look like before training.

    Args:
        moon: Its head gets the start, in place; a head without residuals is left alone.
        dataset: Of the training: its products, queries and pictures.
        device: Where the tower looks at pictures, if nothing was kept of them; the model comes back to the CPU.
    """
    was_training = moon.training
    moon.eval()
    head = moon.head
    width = moon.backbone.vision_size
    pictures_NP = _pooled_pictures(moon, dataset, device)
    words_ND, codes_NC = _pooled_words(moon, dataset)
    found = {VISION: pictures_NP[:, :width], COLOURS: pictures_NP[:, width:], WORDS: words_ND, CODES: codes_NC}
    for name, raw in head.residuals.items():
        assert isinstance(raw, RawSignal)
        _start(raw, found[name], name)
    moon.train(was_training)


def _start(raw: RawSignal, signals_NX: torch.Tensor, what: str) -> None:
    signals_NX = signals_NX[signals_NX.any(dim=1)]  # a product without words has a row of zeros
    if len(signals_NX) < 2 or not raw.start_whitened(signals_NX, RIDGES.get(what, RIDGE)):
        _log.warning("fewer than two items with different %s: their residual starts as a random map", what)


def pictures_to_start(dataset: TrainSet) -> list[Picture]:
    """The plain pictures that the start looks at."""
    pictures = [Picture(shot, view, False) for shot in dataset.shots() for view in range(shot.views)]
    return _spread(list({(one.shot.key, one.view): one for one in pictures}.values()))


def _pooled_pictures(moon: MoonModel, dataset: TrainSet, device: torch.device) -> torch.Tensor:
    """(N, P): the pooled vision signal of the plain pictures."""
    pictures, parts = pictures_to_start(dataset), []
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        if dataset.features is not None:
            # The plain picture is variant 0 of every store.
            parts.append(dataset.features(some, np.zeros(len(some), dtype=np.int64)).pooled_NP)
            continue
        assert dataset.store is not None
        pixels_NCHW = dataset.processor.pixels(squares_of(some, dataset.store)).to(device)
        parts.append(moon.to(device).see(pixels_NCHW).pooled_NP.cpu())
    moon.cpu()
    return torch.cat(parts) if parts else torch.zeros((0, 0))


def _pooled_words(moon: MoonModel, dataset: TrainSet) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, D) and (N, C): the pooled words of products, of queries, and of label texts, and their codes."""
    processor = dataset.processor
    sequences = [processor.product_sequence(product, 0) for product in dataset.products.values()]
    texts = [pair.text for pair in dataset.table.pairs() if pair.text]
    texts += [text for field in dataset.fields for text in field.texts]
    sequences += [processor.query_sequence(text, 0) for text in dict.fromkeys(texts)]
    words, codes = [], []
    sequences = _spread(sequences)
    for start in range(0, len(sequences), BATCH):
        batch = collate(sequences[start : start + BATCH], (), pad_id=processor.template.pad_id)
        words.append(moon.pooled_words(batch, moon.backbone.embed_tokens(batch.ids_BL)).float())
        codes.append(moon.pooled_words(batch, moon.codes[batch.ids_BL].float()))
    if not words:
        return torch.zeros((0, moon.backbone.hidden_size)), torch.zeros((0, moon.codes.shape[1]))
    return torch.cat(words), torch.cat(codes)


def _spread(items: list[Item]) -> list[Item]:
    """At most `MAX_SIGNALS`, evenly out of all."""
    step = -(-len(items) // MAX_SIGNALS)
    return items[::step] if items else items
