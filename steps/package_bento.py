"""Build the Bento of exactly the registered version, with an index of the whole catalogue."""

from __future__ import annotations

import logging
from typing import Annotated

from zenml import step

from catalog import ArtifactName, Catalog
from models.encoder import MoonEncoder
from models.regions import RegionStore
from serving.config import ServingConfig
from serving.index import build_index
from serving.packaging import package_bento as build_bento
from steps.code import code_digest
from steps.limits import ingested_limits
from steps.materializers import RecordMaterializer
from steps.progress import log_progress
from steps.records import BentoRecord, ModelFolder, Registration
from steps.registry import BENTO_TAG, Registry
from steps.workdir import work_folder, work_key

logger = logging.getLogger(__name__)


@step(enable_cache=False, experiment_tracker=True, output_materializers=RecordMaterializer)
def package_bento(
    catalog: Catalog, regions: RegionStore, model: ModelFolder, registration: Registration, serving: ServingConfig
) -> Annotated[BentoRecord, ArtifactName.BENTO.value]:
    """Index the catalogue and build the Bento; a refusal is passed on.

    Never cached, because a Bento store can be emptied behind our back; what is there already is not built again.
    """
    if registration.refused:
        return BentoRecord(refused=True, reason=registration.reason, model_digest=model.digest)
    key = work_key(model.digest, catalog.digest, serving.model_dump_json(), code_digest(__name__))
    with work_folder(f"index-{key}") as folder:
        index = folder / "index"
        # The folder's name says what the index holds, and it appears only when it is whole.
        if not index.exists():
            build_index(
                MoonEncoder.load(
                    model.path,
                    store=regions,
                    limits=ingested_limits(catalog),
                    dims=serving.dims,
                    crops=serving.crops,
                ),
                catalog,
                index,
                log_progress(logger, "products indexed"),
                batch_size=serving.index_batch_size,
                thumbnail_px=serving.thumbnail_px,
                ann_min_rows=serving.ann_min_rows,
                limits=ingested_limits(catalog),
            )
        labels = {"registered_model": registration.name, "data_digest": catalog.digest}
        info = build_bento(model.path, index, serving, version=registration.version, labels=labels)
    Registry(registration.name).tag(registration.version, BENTO_TAG, info.tag)
    return BentoRecord(refused=False, tag=info.tag, path=info.path, model_digest=info.model_digest)
