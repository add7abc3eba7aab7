"""Pictures of a step: which squares of which photographs, and their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from catalog import Photo, Product
from models.backbones import SeenPictures
from models.config import ModelConfig
from models.config.train import AugmentConfig
from models.pairs import PairTable
from models.processor import Processor
from models.regions.wanted import Wanted
from models.training.augment import augment
from models.training.picture_store import Shot


class Squares(Protocol):
    """Where squares of a training's photographs come from; picklable, so that data workers can hold it."""

    def squares(self, shot: Shot) -> np.ndarray:
        """(views, side, side, 3) uint8, the original first."""
        ...

    def several(self, shots: Sequence[Shot]) -> list[np.ndarray]:
        """Squares of each."""
        ...


@dataclass(frozen=True)
class Picture:
    """One square of a shot."""

    shot: Shot
    view: int
    """0: the original, 1: the core crop."""
    strong: bool
    """A crop of it stands in for a second photograph."""


Features = Callable[[Sequence[Picture], np.ndarray], SeenPictures]


class Slots:
    """Collects the pictures of a step."""

    def __init__(self) -> None:
        self.pictures: list[Picture] = []

    def add(self, shots: Iterable[Shot], strong: bool = False) -> list[int]:
        """Pictures of the shots, which have views alike, originals first; returns their numbers."""
        listed, numbers = list(shots), []
        for view in range(max((shot.views for shot in listed), default=0)):
            for shot in listed:
                numbers.append(len(self.pictures))
                self.pictures.append(Picture(shot, view, strong))
        return numbers


def pixels_of(
    pictures: Sequence[Picture], squares: Squares, processor: Processor, changes: AugmentConfig, seed: int
) -> torch.Tensor:
    """Augmented and normalised pixels of pictures.

    Args:
        pictures: N of them, at least one.
        squares: Of every shot.
        processor: The one preprocessing path.
        changes: Augmentation.
        seed: Decides the augmentation.

    Returns:
        (N, 3, side, side) float32, as the vision tower expects them.

    Raises:
        ImageError: A photograph that is decoded now cannot be read any more.
    """
    pixels = torch.from_numpy(np.stack(squares_of(pictures, squares))).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    strong = torch.tensor([one.strong for one in pictures])
    changed = augment(pixels, strong, changes, torch.Generator().manual_seed(seed))
    return processor.normalised(changed.add_(1.0).div_(2.0))


def squares_of(pictures: Sequence[Picture], squares: Squares) -> list[np.ndarray]:
    """(side, side, 3) uint8 of each picture; a photograph is asked for once, however many of its squares there are."""
    shots = {one.shot.key: one.shot for one in pictures}
    found = dict(zip(shots, squares.several(list(shots.values())), strict=True))
    return [found[one.shot.key][one.view] for one in pictures]


def shots_of(
    products: Iterable[Product], photos: Mapping[str, Sequence[Photo]], table: PairTable, config: ModelConfig
) -> list[Shot]:
    """Photographs of products, then those of queries.

    Args:
        products: With a training pair.
        photos: Usable ones, by product.
        table: All pairs.
        config: Which side has crops.
    """
    own = [Shot(photo, Wanted.of(one), config.product_views) for one in products for photo in photos[one.product_id]]
    return own + [Shot(pair.photo, Wanted(pair.text), config.query_views) for pair in table.pairs() if pair.photo]
