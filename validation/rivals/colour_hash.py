"""The rival that sees colours and coarse shape: what finds copies of a picture."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from catalog.likeness import NUM_BITS, perceptual_hash
from validation.rivals.colour_histogram import NUM_COLOURS, ColourHistogram, hsv_histogram
from validation.rivals.photos_alone import MISSING_AXES, PhotosAlone


class ColourAndHash(PhotosAlone):
    """Square root of the HSV histogram beside the bits of the perceptual hash as +1 and -1, half each.

    The cosine of two photos is the mean of their Bhattacharyya coefficient and of 1 - 2 x the share of differing bits.
    A product is the normalised mean of its photos.

    Source: our choice of the two halves; the hash is `catalog.likeness.perceptual_hash`.
    """

    name = "colour_hash"
    dims = NUM_COLOURS + NUM_BITS + MISSING_AXES

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256(f"colour_hash-1:{ColourHistogram().digest}:{NUM_BITS}".encode()).hexdigest()

    def look(self, image: Image.Image) -> np.ndarray:
        """(512,) float64 of unit length."""
        bits = np.where(perceptual_hash(image), 1.0, -1.0) / np.sqrt(NUM_BITS)
        return np.concatenate([np.sqrt(hsv_histogram(image)), bits]) / np.sqrt(2)

    def pooled(self, mean: np.ndarray) -> np.ndarray:
        """Its direction."""
        return np.asarray(mean / np.linalg.norm(mean))
