"""The core region of a photograph: candidates from the store, else detected now; then the chooser."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from PIL import Image

from catalog import ModelError, Photo
from models.regions.chooser import CoreRegion, RegionChooser
from models.regions.detector import Candidate, RegionDetector
from models.regions.store import RegionStore, store_key
from models.regions.wanted import Wanted


class CoreRegions:
    """Detector, chooser and cache as the one thing that training, evaluation and serving ask.

    Picklable when its detector is, so that data workers can hold it.

    Args:
        detector: Looks at pictures that the store does not know, such as a shopper's.
        chooser: Pinned with the model; see `digest`.
        store: Candidates found before; must be this detector's.

    Raises:
        ModelError: The store was filled by another detector.
    """

    def __init__(self, detector: RegionDetector, chooser: RegionChooser, store: RegionStore | None = None) -> None:
        if store is not None:
            store.check_detector(detector.digest)
        self._detector, self._chooser, self._store = detector, chooser, store
        self.digest = hashlib.sha256(f"{detector.digest}:{chooser.digest}".encode()).hexdigest()

    @property
    def store(self) -> RegionStore | None:
        """Candidates found before, for another process."""
        return self._store

    def prompt(self, wanted: Wanted) -> str:
        """The words of `wanted` that change the core region: where these are equal, it is."""
        return "\0".join((self._detector.prompt(wanted), self._chooser.prompt(wanted)))

    def candidates(self, photo: Photo, image: Image.Image, wanted: Wanted) -> list[Candidate]:
        """Candidate boxes of `photo`, best first.

        Args:
            photo: Its digest finds the stored ones; a photo without a digest is always looked at.
            image: The photo decoded, at its whole size.
            wanted: Read by detectors that are steered by words.

        Raises:
            ModelError: `image` has another size than the picture whose boxes are stored.
        """
        if self._store is not None and photo.digest:
            key = store_key(self._detector, photo.digest, wanted)
            found = self._store.get(key)
            if found is not None:
                if self._store.size_px(key) != image.size:
                    raise ModelError(
                        "picture has another size than the one its regions were found in",
                        where=photo.ref,
                        got=f"{image.width} x {image.height} px",
                        allowed="{} x {} px".format(*self._store.size_px(key)),
                        fix="pass the decoded photograph before any resizing",
                    )
                return found
        return self._detector.detect([image], [wanted])[0]

    def core(self, photo: Photo, image: Image.Image, wanted: Wanted) -> CoreRegion:
        """The core region of `photo`, in pixels of `image`, with the reason for it."""
        return self.choose(self.candidates(photo, image, wanted), image.size, wanted)

    def choose(self, candidates: Sequence[Candidate], size_px: tuple[int, int], wanted: Wanted) -> CoreRegion:
        """The core region among `candidates` of a picture of `size_px` (width, height), for who has them already."""
        return self._chooser.choose(candidates, size_px, wanted)
