"""Is the data good enough to train on?"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Annotated

from zenml import step
from zenml.types import HTMLString

from catalog import ArtifactName, Catalog, CatalogConfig, ImageLimits, split_catalog
from steps.code import cache_key, cached_by
from steps.materializers import CatalogMaterializer
from steps.tracking import log_page
from steps.workdir import work_root
from validation.config import DataChecksConfig
from validation.data import check_catalog, write_quarantine

logger = logging.getLogger(__name__)


def cached_under() -> str:
    """What the cache goes by, beside the inputs."""
    return cache_key(__name__)


@step(
    cache_policy=cached_by(cached_under),
    experiment_tracker=True,
    output_materializers={ArtifactName.VALIDATED_CATALOG.value: CatalogMaterializer},
)
def validate_catalog(
    catalog: Catalog, section: CatalogConfig, checks: DataChecksConfig
) -> tuple[
    Annotated[Catalog, ArtifactName.VALIDATED_CATALOG.value], Annotated[HTMLString, ArtifactName.DATA_REPORT.value]
]:
    """Check rows, images, queries and the split.

    Returns:
        The catalogue without what was set aside, and the page that says what was found.

    Raises:
        DataCheckFailed: A check of level error failed and rows are not set aside.
    """
    limits = ImageLimits(section.max_image_bytes, section.max_image_pixels)
    verdict = check_catalog(catalog, split_catalog(catalog, section.split), checks, limits)
    if not verdict.passed:
        # A failed step leaves no artifact; the page is wanted most now.
        log_page(verdict.html, ArtifactName.DATA_REPORT)
        raise verdict.to_error()
    if verdict.quarantined:
        aside = work_root() / f"quarantine-{catalog.digest[:16]}.jsonl"
        write_quarantine(verdict, str(aside))
        logger.warning("%d rows and images set aside, with a reason each: %s", len(verdict.quarantined), aside)
    return replace(verdict.catalog, bad_rows=verdict.quarantined), HTMLString(verdict.html)
