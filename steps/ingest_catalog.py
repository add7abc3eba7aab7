"""Look at the source and take the catalogue in."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from zenml import step

from catalog import ArtifactName, Catalog, CatalogConfig, CatalogError, ImageError, read_catalog, write_catalog
from catalog.sources import load_catalog
from steps.code import code_digest
from steps.materializers import CatalogMaterializer
from steps.progress import log_progress
from steps.workdir import work_folder, work_key, work_root

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"


@step(enable_cache=False, experiment_tracker=True, output_materializers=CatalogMaterializer)
def ingest_catalog(
    catalog: CatalogConfig, on_error: Literal["stop", "quarantine"]
) -> Annotated[Catalog, ArtifactName.CATALOG.value]:
    """Read rows and photographs. Never cached: only a look at the source tells whether it changed.

    Args:
        catalog: Which source, and what a row may cost.
        on_error: What a row that cannot be read does.
    """
    if catalog.source == "demo":
        loaded = _demo_shop(catalog)
    else:
        progress = log_progress(logger, "photographs")
        loaded = load_catalog(catalog, work_dir=str(work_root()), on_error=on_error, progress=progress)
    logger.info(
        "catalogue %s: %d products, %d queries, %d images, digest %s",
        loaded.name,
        len(loaded.products),
        len(loaded.queries),
        len(loaded.images),
        loaded.digest[:12],
    )
    return loaded


def _demo_shop(catalog: CatalogConfig) -> Catalog:
    with work_folder(f"demo-{work_key(catalog.model_dump_json(), code_digest('catalog.demo'))}") as folder:
        kept = _drawn_before(folder)
        if kept is None:
            kept = load_catalog(catalog, work_dir=str(folder), progress=log_progress(logger, "products drawn"))
            write_catalog(kept, str(folder))
    return kept


def _drawn_before(folder: Path) -> Catalog | None:
    """The demo shop as an earlier run drew it here, if every picture still is what it was."""
    if not (folder / MANIFEST).exists():
        return None
    try:
        kept = read_catalog(str(folder))
        for ref in kept.images:
            kept.photo(ref).read_bytes()
    except (CatalogError, ImageError) as error:
        logger.warning("the demo shop is drawn again: %s", error.problem)
        return None
    return kept
