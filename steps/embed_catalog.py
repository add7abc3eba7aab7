"""Embed a whole catalogue and write its index."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

from zenml import step

from catalog import ArtifactName, Catalog, ModelError
from models.encoder import MoonEncoder
from serving.config import ServingConfig
from serving.index import build_index
from steps.limits import ingested_limits
from steps.materializers import DigestedFolderMaterializer
from steps.progress import log_progress
from steps.records import IndexFolder
from steps.registry import Registry, crops_of

logger = logging.getLogger(__name__)


@step(enable_cache=False, experiment_tracker=True, output_materializers=DigestedFolderMaterializer)
def embed_catalog(
    catalog: Catalog, version: str | None, serving: ServingConfig
) -> Annotated[IndexFolder, ArtifactName.INDEX.value]:
    """Embed every product with a registered version.

    Args:
        catalog: Need not be the one the version was trained on.
        version: Version of the registry; the champion, else the challenger, where None.
        serving: Batch and thumbnail sizes, the length of the vectors, and the crops: the version's own where
            none are named.

    Raises:
        ModelError: Nothing is registered, or the version was not trained for vectors of `serving.dims` numbers
            or with `serving.crops`.
    """
    registry = Registry()
    chosen = registry.by_version(version) if version else registry.best()
    if chosen is None:
        raise ModelError("no version is registered", where=registry.name, fix="zenml pipeline run train_moon")
    folder = Path(mkdtemp(prefix="moon-index-")) / "index"
    info = build_index(
        MoonEncoder.load(
            registry.model_path(chosen),
            limits=ingested_limits(catalog),
            dims=serving.dims,
            crops=serving.crops or crops_of(chosen),
        ),
        catalog,
        folder,
        log_progress(logger, "products embedded"),
        batch_size=serving.index_batch_size,
        thumbnail_px=serving.thumbnail_px,
        ann_min_rows=serving.ann_min_rows,
        limits=ingested_limits(catalog),
    )
    logger.info("%d products embedded with version %s", info.num_products, chosen.version)
    return IndexFolder(str(folder), info.digest)
