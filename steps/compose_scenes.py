"""Cut products out of their photographs and compose scenes with exact boxes."""

from __future__ import annotations

import logging
from typing import Annotated

from zenml import step

from catalog import ArtifactName, Catalog, SplitConfig, split_catalog
from models.region_training import SceneSetConfig
from models.region_training import compose_scenes as compose
from steps.code import cache_key, cached_by, code_digest
from steps.limits import ingested_limits
from steps.materializers import DigestedFolderMaterializer
from steps.progress import log_progress
from steps.records import Files
from steps.workdir import work_folder, work_key

logger = logging.getLogger(__name__)


def cached_under() -> str:
    """What the cache goes by, beside the inputs."""
    return cache_key(__name__)


@step(
    cache_policy=cached_by(cached_under),
    output_materializers={ArtifactName.SCENES.value: DigestedFolderMaterializer},
)
def compose_scenes(
    catalog: Catalog, split: SplitConfig, scenes: SceneSetConfig
) -> Annotated[Files, ArtifactName.SCENES.value]:
    """Compose training, validation and judged scenes, each of its own side of the split.

    Raises:
        ModelError: A side of the split has no product that can be cut out.
    """
    version = code_digest("models.region_training.compose")
    # By what decides a single scene, not by their number: a longer set goes on where a shorter one ended.
    deciding = scenes.model_dump_json(exclude={"num_train", "num_val", "num_held_out", "num_workers"})
    with work_folder(f"scenes-{work_key(deciding, split.model_dump_json(), catalog.digest, version)}") as folder:
        composed = compose(
            catalog,
            split_catalog(catalog, split),
            scenes,
            folder / "set",
            version,
            ingested_limits(catalog),
            log_progress(logger, "scenes"),
        )
        return Files(str(composed.folder), composed.digest)
