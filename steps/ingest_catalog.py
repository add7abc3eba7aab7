"""Look at the source and take the catalogue in."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from zenml import step

from catalog import ArtifactName, Catalog, CatalogConfig
from catalog.sources import load_catalog
from steps.code import code_digest
from steps.materializers import CatalogMaterializer
from steps.progress import log_progress
from steps.workdir import work_folder, work_key

logger = logging.getLogger(__name__)


@step(enable_cache=False, experiment_tracker=True, output_materializers=CatalogMaterializer)
def ingest_catalog(
    catalog: CatalogConfig, on_error: Literal["stop", "quarantine"]
) -> Annotated[Catalog, ArtifactName.CATALOG.value]:
    """Read rows and photographs. Never cached: only a look at the source tells whether it changed.

    Args:
        catalog: Which source, and what a row may cost.
        on_error: What a row that cannot be read does.
    """
    key = (
        work_key(catalog.demo.model_dump_json(), code_digest("catalog.demo")) if catalog.source == "demo" else "folder"
    )
    with work_folder(f"ingest-{key}") as folder:
        loaded = load_catalog(
            catalog, work_dir=str(folder), on_error=on_error, progress=log_progress(logger, "photographs")
        )
    logger.info(
        "catalogue %s: %d products, %d queries, %d images, digest %s",
        loaded.name,
        len(loaded.products),
        len(loaded.queries),
        len(loaded.images),
        loaded.digest[:12],
    )
    return loaded
