"""A photograph to the two squares the model sees: the whole picture and its core region.

The picture is fitted into the square with its aspect kept and white around it (letterbox), not stretched: tall or
wide is part of what a product is, and a core region has any aspect.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Protocol

import numpy as np
from PIL import Image

from catalog import ImageLimits, Photo, sha256_hex
from catalog.rows import Box
from models.regions.wanted import Wanted

WHITE = (255, 255, 255)


class HasBox(Protocol):
    """What a region chooser answers."""

    @property
    def box(self) -> Box: ...


class CoreFinder(Protocol):
    """The part of `models.regions.CoreRegions` that pictures need."""

    @property
    def digest(self) -> str: ...

    def prompt(self, wanted: Wanted) -> str: ...

    def core(self, photo: Photo, image: Image.Image, wanted: Wanted) -> HasBox: ...


class PictureSource(Protocol):
    """Where the processor takes squares from."""

    def squares(self, photo: Photo, wanted: Wanted, views: int = 2) -> np.ndarray: ...


def letterbox(image: Image.Image, side_px: int) -> np.ndarray:
    """Fit `image` into a white square.

    Returns:
        (side_px, side_px, 3) uint8.
    """
    scale = side_px / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGB", (side_px, side_px), WHITE)
    # Box filtering first halves large photographs cheaply; the result is within rounding of a plain resize.
    resized = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    square.paste(resized, ((side_px - size[0]) // 2, (side_px - size[1]) // 2))
    return np.asarray(square)


def crop_box(image: Image.Image, box: Box) -> Image.Image:
    """The part of `image` inside `box`, cut to the picture and never empty."""
    x0, x1 = _span(box[0], box[2], image.width)
    y0, y1 = _span(box[1], box[3], image.height)
    return image.crop((x0, y0, x1, y1))


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    first = min(max(int(np.floor(low)), 0), size - 1)
    return first, max(first + 1, min(int(np.ceil(high)), size))


class PictureMaker:
    """Decodes a photograph, finds its core region, and fits both into squares; keeps the latest in memory.

    Picklable when its detector of regions is.

    Args:
        side_px: Side of a square, pixels.
        regions: Finds core regions; None feeds originals only.
        limits: What a photograph may cost.
        max_cached: Photographs whose squares are kept, least recently used out first.
    """

    def __init__(
        self,
        side_px: int,
        regions: CoreFinder | None,
        limits: ImageLimits = ImageLimits(),
        max_cached: int = 2048,
    ) -> None:
        self.side_px, self.regions, self.limits, self.max_cached = side_px, regions, limits, max_cached
        self._cache: OrderedDict[tuple[str, str | None], np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, object]:
        # A data worker begins with nothing kept, and a lock belongs to its process.
        return {name: value for name, value in vars(self).items() if name not in ("_cache", "_lock")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _cache=OrderedDict(), _lock=Lock())

    def squares(self, photo: Photo, wanted: Wanted, views: int = 2) -> np.ndarray:
        """The original and, with regions, the core crop of `photo`.

        Args:
            photo: Decoded unless it is kept.
            wanted: What the core region is looked for by.
            views: 1: the original alone, and no region is looked for.

        Returns:
            (1 or 2, side_px, side_px, 3) uint8; the original first.

        Raises:
            ImageError: The photograph cannot be read or decoded.
        """
        finder = self.regions if views > 1 else None
        key = (photo_key(photo), None if finder is None else finder.prompt(wanted))
        with self._lock:
            found = self._cache.get(key)
            if found is not None:
                self._cache.move_to_end(key)
                return found
        made = self._make(photo, wanted, finder)
        with self._lock:
            self._cache[key] = made
            while len(self._cache) > self.max_cached:
                self._cache.popitem(last=False)
        return made

    def _make(self, photo: Photo, wanted: Wanted, finder: CoreFinder | None) -> np.ndarray:
        image = photo.load(self.limits)
        pictures = [letterbox(image, self.side_px)]
        if finder is not None:
            box = finder.core(photo, image, wanted).box
            pictures.append(letterbox(crop_box(image, box), self.side_px))
        return np.stack(pictures)


def photo_key(photo: Photo) -> str:
    """What makes two photographs the same: their bytes."""
    if photo.digest:
        return photo.digest
    if photo.data is not None:
        return sha256_hex(photo.data)
    return f"{photo.root}\x00{photo.ref}"
