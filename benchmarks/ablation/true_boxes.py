"""The ceiling of every detector: core regions from the catalogue's true boxes. No backend: a shop has no such boxes."""

from __future__ import annotations

import hashlib

from PIL import Image

from catalog import Box, Catalog, Photo
from models.regions import Candidate, CoreRegions, RegionsConfig, RegionStore, Wanted, make_chooser, make_detector


class TrueCoreRegions(CoreRegions):
    """Knows one candidate, the true box, of every photograph that has one; asks the detector about the others.

    The configured rule pads that box as it pads any other, so that only the box differs.

    Args:
        config: The detector for photographs without a true box, and the rule.
        catalog: Whose photographs, of products and of queries, have true boxes.
        store: What that detector found before.
    """

    def __init__(self, config: RegionsConfig, catalog: Catalog, store: RegionStore | None = None) -> None:
        super().__init__(make_detector(config), make_chooser(config), store)
        self.boxes = _true_boxes(catalog)
        told = f"true boxes:{self.digest}:{sorted(self.boxes.items())}"
        self.digest = hashlib.sha256(told.encode()).hexdigest()

    def candidates(self, photo: Photo, image: Image.Image, wanted: Wanted) -> list[Candidate]:
        box = self.boxes.get(photo.digest or "")
        return super().candidates(photo, image, wanted) if box is None else [Candidate(box, 1.0)]


def _true_boxes(catalog: Catalog) -> dict[str, Box]:
    """By the photograph's digest: nothing of the item it is asked for is needed to know its box."""
    photos = [photo for item in catalog.items() for photo in item.photos]
    photos += [photo for query in catalog.queries if (photo := catalog.query_item(query).photo) is not None]
    return {photo.digest: photo.box for photo in photos if photo.digest and photo.box is not None}
