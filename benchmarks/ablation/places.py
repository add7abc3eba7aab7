"""What all runs share on disk: the catalogue as checked, core regions, decoded pictures, tower features."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import catalog.demo
from benchmarks.ablation.protocol import Setup
from catalog import (
    Catalog,
    CatalogError,
    ImageError,
    ImageLimits,
    SplitConfig,
    read_catalog,
    split_catalog,
    write_catalog,
)
from catalog.catalog import EMBEDDED_ROOT, copy_images
from catalog.sources import load_catalog
from models.regions import (
    RegionDetector,
    RegionsConfig,
    RegionStore,
    detect_catalog,
    detection_processes,
    make_detector,
)
from models.regions.store import FILE_NAME
from moon.config import MoonConfig
from validation.config import DataChecksConfig

_log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_PICTURES = ("pictures.npy", "pictures.json")


@dataclass(frozen=True)
class Places:
    """Folders below one working folder.

    Args:
        root: The working folder; one series of runs at a time.
        catalog: Where `take_in` put the catalogue.
    """

    root: Path
    catalog: Path

    @property
    def features(self) -> Path:
        """Features of frozen towers, by tower and picture."""
        return self.root / "features"

    def run(self, key: str) -> Path:
        """Of one run: checkpoint, and its model until it is judged."""
        return self.root / "runs" / key


def take_in(config: MoonConfig, root: Path) -> tuple[Catalog, Places]:
    """Read or draw the catalogue and keep its tables, so that no run has to again.

    Raises:
        CatalogError: The source cannot be read.
    """
    section = config.catalog
    if section.source == "demo":
        sources = sorted(Path(catalog.demo.__path__[0]).rglob("*.py"))
        code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        folder = root / f"demo-{_key(section.demo.model_dump_json(), code)}"
        found = _drawn_before(folder)
        if found is None:
            folder.mkdir(parents=True, exist_ok=True)
            _log.info("drawing the demo shop, %d products", section.demo.num_products)
            found = load_catalog(section, work_dir=str(folder))
            write_catalog(found, str(folder))
        return found, Places(root, folder)
    found = load_catalog(section, work_dir=str(root), on_error=config.checks.on_error)
    folder = root / f"catalog-{found.digest[:16]}"
    if not (folder / _MANIFEST).exists():
        if found.image_root == EMBEDDED_ROOT:
            copy_images(found, str(folder))
        write_catalog(found, str(folder))
    return found, Places(root, folder)


def checked(places: Places, split: SplitConfig, checks: DataChecksConfig) -> Catalog:
    """The catalogue without what the data checks set aside on this split, as a pipeline would train on it.

    Raises:
        DataCheckFailed: A check failed and rows are not set aside.
    """
    whole = read_catalog(str(places.catalog))
    key = _key(whole.digest, split.model_dump_json(), checks.model_dump_json())
    folder = places.root / f"checked-{key}"
    if not (folder / _MANIFEST).exists():
        from validation.data import check_catalog  # brings Great Expectations, which takes seconds

        verdict = check_catalog(whole, split_catalog(whole, split), checks, limits_of(whole))
        if not verdict.passed:
            raise verdict.to_error()
        write_catalog(replace(verdict.catalog, bad_rows=verdict.quarantined), str(folder))
    # Tables alone were kept: the photographs lie where they lay.
    return replace(read_catalog(str(folder)), root=whole.root)


def limits_of(found: Catalog) -> ImageLimits:
    """The size of the largest photographs: ingestion held each against the configured limits."""
    records = list(found.images.values())
    return ImageLimits(
        max_bytes=max((record.num_bytes for record in records), default=1),
        max_pixels=max((record.width_px * record.height_px for record in records), default=1),
    )


def region_store(places: Places, config: RegionsConfig) -> RegionStore:
    """Candidate boxes of every photograph of the catalogue, from disk where they are known."""
    detector = make_detector(config)
    folder = places.root / f"regions-{detector.digest[:16]}"
    store = _known_regions(folder, detector)
    whole = read_catalog(str(places.catalog))
    stats = detect_catalog(whole, detector, store, detection_processes(config), limits_of(whole))
    if stats.num_detected:
        store.write(folder)
    return store


class SharedPictures:
    """Decoded squares, lent to a run before it trains and taken back after.

    A training looks for them in its own working folder, checks there that they are what it needs, and decodes anew
    where they are not: lending it the wrong ones costs time, never a wrong picture. Copies are lent, because it would
    write over a file that is not what it needs.

    Args:
        places: Where they are kept.
        key: The same for runs that see the same squares.
    """

    def __init__(self, places: Places, key: str) -> None:
        self.folder = places.root / "pictures" / key

    def lend(self, work_dir: Path) -> None:
        if (self.folder / _PICTURES[1]).exists() and not (work_dir / _PICTURES[1]).exists():
            work_dir.mkdir(parents=True, exist_ok=True)
            for name in _PICTURES:  # the index last: it says that the squares are whole
                shutil.copyfile(self.folder / name, work_dir / name)

    def take_back(self, work_dir: Path) -> None:
        index = self.folder / _PICTURES[1]
        made = work_dir / _PICTURES[1]
        if not made.exists() or (index.exists() and index.read_bytes() == made.read_bytes()):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)
        for name in _PICTURES:
            os.replace(work_dir / name, self.folder / name)


def picture_key(setup: Setup, data_digest: str) -> str:
    """Stands for the squares that a run sees: photographs of the fold's train side, regions, size, crops."""
    model = setup.model
    size = [model.backbone, model.nano, model.image_side_px, model.max_picture_tokens, model.max_images]
    parts = (
        setup.split,
        setup.checks,
        setup.regions,
        setup.boxes,
        size,
        model.crops,
        setup.train.pair_sources,
        data_digest,
    )
    return _key(*map(repr, parts))


def _known_regions(folder: Path, detector: RegionDetector) -> RegionStore:
    if (folder / FILE_NAME).exists():
        return RegionStore.read(folder, detector.digest)
    return RegionStore(detector.digest)


def _drawn_before(folder: Path) -> Catalog | None:
    if not (folder / _MANIFEST).exists():
        return None
    try:
        kept = read_catalog(str(folder))
        for ref in kept.images:
            kept.photo(ref).read_bytes()
    except (CatalogError, ImageError) as error:
        _log.warning("the demo shop is drawn again: %s", error.problem)
        return None
    return kept


def _key(*parts: str) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode()).digest())
    return total.hexdigest()[:16]
