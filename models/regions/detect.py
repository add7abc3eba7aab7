"""Detection over a whole catalogue: only images the store does not know, in worker processes, a few at a time each."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor
from PIL import Image

from catalog import BadRow, Catalog, ImageError, ImageLimits, ModelError, Photo
from catalog.catalog import IMAGE_OK
from models.regions.detector import Candidate, NoDetector, RegionDetector
from models.regions.store import RegionStore, store_key
from models.regions.wanted import Wanted

_log = logging.getLogger(__name__)
_CHUNK_IMAGES = 16
_BATCH_PIXELS = 16_000_000
"""Decoded pixels that a worker holds at most, the last picture aside: one large photograph is a batch of its own."""


@dataclass(frozen=True)
class DetectionStats:
    """What one pass over a catalogue did."""

    num_images: int
    """Image references in the catalogue, once for each of the words that the detector reads beside them."""
    num_hits: int
    """Answered without the detector: stored before, or the same bytes under another name."""
    num_detected: int
    """Detector calls, one an image."""
    num_workers: int
    """Processes that worked: no more than there was work for."""
    seconds: float
    skipped: tuple[BadRow, ...] = ()
    """Images that cannot be used, with the reason."""

    @property
    def images_per_s(self) -> float:
        """Detected images a second, decoding included; 0 when nothing was detected."""
        return self.num_detected / self.seconds if self.seconds > 0 else 0.0

    @property
    def hit_frac(self) -> float:
        """Share of the usable images that were answered without the detector; 0 where there are none."""
        num_answered = self.num_hits + self.num_detected
        return self.num_hits / num_answered if num_answered else 0.0

    @property
    def told(self) -> str:
        """One line for people: what was known, what was detected and how fast."""
        line = f"regions of {self.num_images} images: {self.num_hits} known ({self.hit_frac:.0%})"
        line += f", {self.num_detected} detected"
        if self.num_detected:
            processes = "one process" if self.num_workers == 1 else f"{self.num_workers} processes"
            line += f" at {self.images_per_s:.1f} images/s in {processes}"
        return f"{line}, {len(self.skipped)} skipped" if self.skipped else line

    def to_dict(self) -> dict[str, Any]:
        """For JSON and for a tracker; `skipped` as dictionaries."""
        counted = {"images_per_s": self.images_per_s, "hit_frac": self.hit_frac, "num_skipped": len(self.skipped)}
        return asdict(self) | counted


@dataclass(frozen=True)
class _Job:
    key: str
    photo: Photo
    wanted: Wanted
    product_id: str


_Answer = tuple[str, tuple[int, int], list[Candidate], str]
"""key, picture size, candidates, and the reason why there are none, empty when all went well."""


def detect_catalog(
    catalog: Catalog,
    detector: RegionDetector,
    store: RegionStore,
    num_workers: int = 1,
    limits: ImageLimits = ImageLimits(),
    progress: Callable[[int, int], None] | None = None,
) -> DetectionStats:
    """Fill `store` with the candidates of every photograph of products and queries.

    Args:
        catalog: Its image table says which files are usable; a worker holds a few decoded images.
        detector: Pickled into the workers when there are several.
        store: Of this detector; what it holds already is not looked at again.
        num_workers: Processes; 1 works in this one. The answer is the same for any number.
        limits: Checked before an image is decoded.
        progress: Called with (images answered, images in all).

    Returns:
        Counts, time, and the images skipped with their reasons.

    Raises:
        ModelError: The store belongs to another detector, or a worker process died.
    """
    store.check_detector(detector.digest)
    started = time.perf_counter()
    if isinstance(detector, NoDetector):
        return DetectionStats(0, 0, 0, 0, 0.0)
    jobs, skipped, num_images, num_hits = _plan(catalog, detector, store)
    num_workers = max(min(num_workers, math.ceil(len(jobs) / _CHUNK_IMAGES)), 1)
    done = num_images - len(jobs)
    if progress:
        progress(done, num_images)
    num_detected = 0
    products = {job.key: job for job in jobs}
    for answers in _run(jobs, detector, limits, num_workers):
        for key, size_px, candidates, problem in answers:
            if problem:
                job = products[key]
                skipped.append(BadRow(job.photo.ref, job.product_id, problem))
                _log.warning("no regions for %s: %s", job.photo.ref, problem)
            else:
                store.add(key, size_px, candidates)
                num_detected += 1
        done += len(answers)
        if progress:
            progress(done, num_images)
    seconds = time.perf_counter() - started
    return DetectionStats(num_images, num_hits, num_detected, num_workers, seconds, tuple(skipped))


def keys_of(catalog: Catalog, detector: RegionDetector) -> set[str]:
    """What the candidates of a catalogue's usable photographs are filed under, and nothing else of a store."""
    return {
        store_key(detector, record.digest, wanted)
        for (ref, _), (wanted, _) in _asked(catalog, detector).items()
        if (record := catalog.images.get(ref)) is not None and record.status == IMAGE_OK
    }


def _asked(catalog: Catalog, detector: RegionDetector) -> dict[tuple[str, str], tuple[Wanted, str]]:
    """By reference and prompt: what is wanted there, and of which product, empty for a query's photograph."""
    asked: dict[tuple[str, str], tuple[Wanted, str]] = {}
    for product in catalog.products:
        wanted = Wanted.of(product)
        for ref in product.images:
            asked.setdefault((ref, detector.prompt(wanted)), (wanted, product.product_id))
    for query in catalog.queries:
        if query.image:
            wanted = Wanted(query.text)
            asked.setdefault((query.image, detector.prompt(wanted)), (wanted, ""))
    return asked


def _plan(catalog: Catalog, detector: RegionDetector, store: RegionStore) -> tuple[list[_Job], list[BadRow], int, int]:
    """Jobs that are really needed, images that cannot be used, references in all, and those already answered."""
    asked = _asked(catalog, detector)
    jobs: dict[str, _Job] = {}
    skipped: list[BadRow] = []
    num_hits = 0
    for (ref, _), (wanted, product_id) in asked.items():
        record = catalog.images.get(ref)
        if record is None or record.status != IMAGE_OK:
            reason = "not in the catalogue's image table" if record is None else record.status
            skipped.append(BadRow(ref, product_id, reason))
            continue
        key = store_key(detector, record.digest, wanted)
        if key in store or key in jobs:
            num_hits += 1
        else:
            jobs[key] = _Job(key, catalog.photo(ref), wanted, product_id)
    return list(jobs.values()), skipped, len(asked), num_hits


def _run(jobs: list[_Job], detector: RegionDetector, limits: ImageLimits, num_workers: int) -> Iterator[list[_Answer]]:
    chunks = [jobs[start : start + _CHUNK_IMAGES] for start in range(0, len(jobs), _CHUNK_IMAGES)]
    if num_workers == 1:
        for chunk in chunks:
            yield _detect_chunk(detector, limits, chunk)
        return
    # Not fork: a child of a process that has run torch or zenml threads can hang. Not the standard library's spawn: its
    # children import the main program again, which under the zenml command takes longer than the detection.
    # A thread each: else every process takes all cores for its network, and they wait for one another.
    with ProcessPoolExecutor(
        num_workers, initializer=_start_worker, initargs=(detector, limits), env={"OMP_NUM_THREADS": "1"}
    ) as pool:
        try:
            yield from pool.map(_work, chunks)
        except BrokenProcessPool:
            raise ModelError(
                "a detection process died", got="most often out of memory", fix="run it with num_workers 1"
            ) from None


_worker: tuple[RegionDetector, ImageLimits] | None = None


def _start_worker(detector: RegionDetector, limits: ImageLimits) -> None:
    global _worker
    _worker = (detector, limits)


def _work(chunk: list[_Job]) -> list[_Answer]:
    assert _worker is not None, "the pool's initializer ran"
    return _detect_chunk(*_worker, chunk)


def _detect_chunk(detector: RegionDetector, limits: ImageLimits, chunk: list[_Job]) -> list[_Answer]:
    answers: list[_Answer] = []
    waiting: list[tuple[_Job, Image.Image]] = []

    def look() -> None:
        found = detector.detect([image for _, image in waiting], [job.wanted for job, _ in waiting])
        for (job, image), candidates in zip(waiting, found, strict=True):
            answers.append((job.key, image.size, candidates, ""))
        waiting.clear()

    for job in chunk:
        try:
            image = job.photo.load(limits)
        except ImageError as error:
            answers.append((job.key, (0, 0), [], str(error).replace("\n", ";")))
            continue
        waiting.append((job, image))
        if sum(image.width * image.height for _, image in waiting) >= _BATCH_PIXELS:
            look()
    if waiting:
        look()
    return answers
