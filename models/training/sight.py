"""How a training comes to see its photographs: as squares, and as what a frozen tower made of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from catalog import ImageLimits
from models.colours import code_digest
from models.moon import MoonModel
from models.pictures import PictureMaker, photo_key
from models.regions import CoreRegions, Wanted
from models.training.contents import find_contents, kept_contents
from models.training.data import TrainSet
from models.training.frozen import keeps_features
from models.training.outlay import Kept, Outlay, check_disk
from models.training.picture_features import FeaturePlan, FeatureStore, StoredFeatures, picture_key, tower_digest
from models.training.picture_store import DrawnPictures, Shot, ShotSet, fill_picture_store, replaced_bytes
from models.training.ranks import in_turn
from models.training.raw_start import pictures_to_start, start_residuals
from models.training.workload import evaluating, tower_flops

_log = logging.getLogger(__name__)
_LOCK = "pictures.lock"
FEATURE_SEED = 1
"""Not the training's: trainings under other seeds may share what the tower saw."""


@dataclass
class Sight:
    """The photographs of one training, from files to what its steps take.

    Args:
        moon: With what learns chosen.
        dataset: Of the training; gets its squares and features.
        regions: Finds core regions.
        work_dir: For decoded photographs.
        features_dir: Where features of a frozen tower are shared between trainings; in `work_dir` where empty.
        limits: What a photograph may cost.
        device: Where a frozen tower looks at pictures.
    """

    moon: MoonModel
    dataset: TrainSet
    regions: CoreRegions
    work_dir: Path
    features_dir: Path | None = None
    limits: ImageLimits = field(default_factory=ImageLimits)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        self.train = self.dataset.config
        self.has_features = keeps_features(self.moon, self.train)
        self.decodes_first = self.train.decode == "once"
        config, side_px = self.moon.config, self.dataset.processor.layout.side_px
        finder = self.regions if config.crops != "none" else None
        self.maker = PictureMaker(side_px, finder, self.limits, max_cached=0)
        self.wanted = ShotSet(self.dataset.shots(), side_px, f"{self.regions.digest}:{side_px}")
        crops = (
            Shot(pair.photo, Wanted(pair.text), config.query_views)
            for pair in self.dataset.table.pairs()
            if pair.photo and pair.is_crop
        )
        self.crops = {shot.key: shot for shot in crops}
        self.stores: tuple[FeatureStore, ...] = self._stores() if self.has_features else ()

    def outlay(self) -> Outlay:
        """What `open` will cost; a blank picture goes through the tower for it, where the tower is to see any."""
        num_decoded, kept = 0, []
        if self.decodes_first and not self.wanted.is_decoded(self.work_dir):
            size, replaced = self.wanted.num_bytes, replaced_bytes(self.work_dir)
            num_decoded = len(self.wanted.shots)
            kept.append(Kept("decoded photographs", self.work_dir, size, size, replaced))
        variants = self.train.feature_variants if self.has_features else 1
        least, most = self._unseen()
        flops, size = self._look if most else (0, 0)
        if self.has_features and most:
            kept.append(Kept("features", self._features_dir, least * variants * size, most * variants * size))
        workers = None if self.decodes_first else self.train.num_workers
        return Outlay(num_decoded, workers, least * variants, most * variants, variants, flops, tuple(kept))

    def open(self) -> None:
        """Decode what is to be decoded first, have a frozen tower see it, and start the residuals; from disk where it
        can. The first of several processes does it, the others find it done.

        Raises:
            ImageError: A photograph that ingestion accepted cannot be read any more.
            ModelError: A feature is not finite, or too large for float16.
            StorageError: No space, or a read-only folder.
        """
        with in_turn(self.work_dir / _LOCK, self.dataset.ranks):
            if self.decodes_first:
                told = _Every(20.0, "decoded %d of %d photographs")
                self.dataset.store = fill_picture_store(self.work_dir, self.wanted, self.maker, told)
            else:
                self.dataset.store = DrawnPictures(self.maker)
            if self.has_features:
                self.dataset.features = self._features()
        if self.moon.config.residual_start == "whitened":
            start_residuals(self.moon, self.dataset, self.device)

    @property
    def _features_dir(self) -> Path:
        return self.features_dir or self.work_dir / "features"

    def _stores(self) -> tuple[FeatureStore, FeatureStore]:
        """Of pictures with mild variants, and of strong crops."""
        backbone = self.moon.backbone
        assert isinstance(backbone, torch.nn.Module)
        tensors = [*backbone.vision_parameters(), *(one for _, one in sorted(backbone.named_buffers()))]
        colours = {"colours": code_digest()} if self.moon.config.colour_residual else {}
        digest = tower_digest(tensors, backbone.spec() | colours)
        layout, train = self.dataset.processor.layout, self.train
        mild, strong = (
            FeatureStore(
                self._features_dir,
                FeaturePlan(digest, layout, train.augment, train.feature_variants, is_strong, FEATURE_SEED),
            )
            for is_strong in (False, True)
        )
        return mild, strong

    def _unseen(self) -> tuple[int, int]:
        """Pictures that the tower must see first, at least and at most; equal once it is known which are the same."""
        if not self.has_features:
            is_needed = self.moon.config.residual_start == "whitened"
            return (len(pictures_to_start(self.dataset)),) * 2 if is_needed else (0, 0)
        contents = kept_contents(self.work_dir, self.wanted)
        least = most = 0
        for store, shots in zip(self.stores, (self.wanted.shots, self.crops), strict=True):
            if contents is not None:
                pictures = {contents[key] for key in _keys_of(shots.values())}
                missing = sum(picture not in store.rows for picture in pictures)
                least, most = least + missing, most + missing
                continue
            # An original is the same whatever its words; crops may differ by them, or be the whole picture.
            originals = len({photo_key(shot.photo) for shot in shots.values()})
            least += max(0, originals - len(store.rows))
            most += originals + sum(shot.views - 1 for shot in shots.values())
        return least, most

    @cached_property
    def _look(self) -> tuple[int, int]:
        """Operations of the tower on one picture, and bytes of the features of one variant; from a blank picture."""
        side = self.wanted.side_px
        with evaluating(self.moon), torch.no_grad():
            seen = self.moon.see(self.dataset.processor.pixels([np.zeros((side, side, 3), np.uint8)]))
        numbers = sum(one[0].numel() for one in (seen.grid_NKV, seen.pooled_NP, *seen.deep))
        return tower_flops(self.moon, side), numbers * np.dtype(FeaturePlan.dtype).itemsize

    def _features(self) -> StoredFeatures:
        moon, store = self.moon, self.dataset.store
        assert store is not None
        contents = kept_contents(self.work_dir, self.wanted)
        if contents is None:
            told = _Every(20.0, "looked at %d of %d photographs")
            contents = find_contents(self.work_dir, self.wanted, store, told)
            # Now it is known which of them the tower has seen.
            check_disk(self.outlay())
        sources: dict[str, tuple[Shot, int]] = {}
        for shot in self.wanted.shots.values():
            for view in range(shot.views):
                sources.setdefault(contents[picture_key(shot.key, view)], (shot, view))

        def square(content: str) -> np.ndarray:
            shot, view = sources[content]
            return store.squares(shot)[view]

        backbone = moon.backbone
        assert isinstance(backbone, torch.nn.Module)
        backbone.eval()
        of_crops = {contents[key] for key in _keys_of(self.crops.values())}
        for kept, wanted in zip(self.stores, (sorted(sources), sorted(of_crops)), strict=True):
            made = kept.fill(
                wanted,
                square,
                lambda pixels_NCHW: moon.to(self.device).see(pixels_NCHW.to(self.device)),
                self.dataset.processor.normalised,
                progress=_Every(20.0, "the vision tower has seen %d of %d pictures"),
                named=lambda content: sources[content][0].photo.ref,
            )
            if wanted:
                what = "strong crops of %d pictures" if kept.plan.strong else "%d pictures"
                _log.info(
                    f"tower features of {what}: %d new, %d kept from before", len(wanted), made, len(wanted) - made
                )
        moon.cpu()
        return StoredFeatures(self.stores[0], self.stores[1] if of_crops else None, contents)


def _keys_of(shots: Iterable[Shot]) -> Iterator[str]:
    return (picture_key(shot.key, view) for shot in shots for view in range(shot.views))


class _Every:
    """Logs progress at most once in `seconds`."""

    def __init__(self, seconds: float, message: str) -> None:
        self.seconds, self.message, self.last = seconds, message, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= self.seconds:
            self.last = now
            _log.info(self.message, done, total)
