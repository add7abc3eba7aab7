"""Find where the product may be in every photograph."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from catalog import ArtifactName, Catalog
from models.regions import (
    CoreRegions,
    RegionDetector,
    RegionsConfig,
    RegionStore,
    detect_catalog,
    make_chooser,
    make_detector,
    render_gallery,
)
from models.regions.store import FILE_NAME
from steps.code import cache_key, cached_by
from steps.limits import ingested_limits
from steps.materializers import RegionStoreMaterializer
from steps.progress import log_progress
from steps.workdir import work_folder

logger = logging.getLogger(__name__)


def cached_under() -> str:
    """What the cache goes by, beside the inputs."""
    return cache_key(__name__)


@step(
    cache_policy=cached_by(cached_under),
    output_materializers={ArtifactName.REGIONS.value: RegionStoreMaterializer},
)
def detect_regions(
    catalog: Catalog, regions: RegionsConfig
) -> tuple[
    Annotated[RegionStore, ArtifactName.REGIONS.value], Annotated[HTMLString, ArtifactName.REGION_GALLERY.value]
]:
    """Store the candidate boxes of every image, and draw some of them over their photographs.

    What was found in an image stays in the working folder under its digest, so one more photo costs one detection.
    """
    limits = ingested_limits(catalog)
    detector, chooser = make_detector(regions), make_chooser(regions)
    with work_folder(f"regions-{detector.digest[:16]}") as folder:
        known = _known_regions(folder, detector)
        found = _of_catalog(known, catalog)
        stats = detect_catalog(
            catalog, detector, found, len(os.sched_getaffinity(0)), limits, log_progress(logger, "regions")
        )
        for key in found:
            known.add(key, found.size_px(key), found.get(key) or [])
        known.write(folder)
        gallery = folder / "gallery.html"
        render_gallery(catalog, CoreRegions(detector, chooser, found), gallery, limits=limits)
        page = gallery.read_text(encoding="utf-8")
    logger.info(stats.told)
    return found, HTMLString(page)


def _known_regions(folder: Path, detector: RegionDetector) -> RegionStore:
    if (folder / FILE_NAME).exists():
        return RegionStore.read(folder, detector.digest)
    return RegionStore(detector.digest)


def _of_catalog(known: RegionStore, catalog: Catalog) -> RegionStore:
    """What is known of this catalogue's images and no others: the artifact must not depend on earlier runs."""
    digests = {record.digest for record in catalog.images.values()}
    found = RegionStore(known.detector_digest)
    for key in known:
        if key.partition(":")[0] in digests:
            found.add(key, known.size_px(key), known.get(key) or [])
    return found
