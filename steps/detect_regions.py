"""Find where the product may be in every photograph."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from catalog import ArtifactName, Catalog, ModelError
from models.regions import (
    CoreRegions,
    RegionDetector,
    RegionsConfig,
    RegionStore,
    detect_catalog,
    detection_processes,
    keys_of,
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
        # Of this catalogue alone: the artifact must not depend on earlier runs.
        found = known.only(keys_of(catalog, detector))
        num_known = len(found)
        try:
            stats = detect_catalog(
                catalog, detector, found, detection_processes(regions), limits, log_progress(logger, "regions")
            )
        finally:
            # What was found before an error or an interruption need not be found again.
            if len(found) > num_known:
                known.take(found)
                known.write(folder)
        gallery = folder / "gallery.html"
        render_gallery(catalog, CoreRegions(detector, chooser, found), gallery, limits=limits)
        page = gallery.read_text(encoding="utf-8")
    logger.info(stats.told)
    return found, HTMLString(page)


def _known_regions(folder: Path, detector: RegionDetector) -> RegionStore:
    if (folder / FILE_NAME).exists():
        try:
            return RegionStore.read(folder, detector.digest)
        except ModelError as error:
            # A store that this step keeps for itself: without it nothing is lost but time.
            logger.warning("regions that were kept cannot be read and are found anew: %s", error)
    return RegionStore(detector.digest)
