"""Photographs small enough to travel inside a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from PIL import Image

from catalog.errors import ImageError
from catalog.images import Photo, thumbnail_jpeg
from catalog.rows import Box


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URL, and a box on it in percent of its sides."""

    url: str
    box_pct: tuple[float, float, float, float] | None = None
    """left, top, width, height."""


class Thumbnails:
    """Data URLs by digest, so that a photo shown ten times is decoded once."""

    def __init__(self, side_px: int) -> None:
        self._side_px = side_px
        self._known: dict[str, tuple[str, tuple[int, int]]] = {}

    def of(self, photo: Photo | None, box: Box | None = None) -> Thumbnail | None:
        """The thumbnail, with `box` (pixels of the upright photo) drawn on it; None where there is no readable photo.

        A page is a witness, not a judge: a photo that went missing since must not keep it from being written.
        """
        if photo is None:
            return None
        key = photo.digest or photo.ref
        if key not in self._known:
            try:
                self._known[key] = self._encode(photo.load())
            except ImageError:
                self._known[key] = ("", (0, 0))
        url, size = self._known[key]
        return Thumbnail(url, _percent(box, size) if box else None) if url else None

    def _encode(self, image: Image.Image) -> tuple[str, tuple[int, int]]:
        small = thumbnail_jpeg(image, self._side_px)
        return "data:image/jpeg;base64," + base64.b64encode(small).decode(), image.size


def _percent(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    width, height = size
    x0, x1 = (min(max(x, 0.0), width) for x in (box[0], box[2]))
    y0, y1 = (min(max(y, 0.0), height) for y in (box[1], box[3]))
    return 100 * x0 / width, 100 * y0 / height, 100 * (x1 - x0) / width, 100 * (y1 - y0) / height
