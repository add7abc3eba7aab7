"""A catalogue as an artifact: its tables, and its images where they are its own."""

from __future__ import annotations

from typing import Any, ClassVar

import fsspec
from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

from catalog import Catalog, read_catalog, write_catalog
from catalog.catalog import EMBEDDED_ROOT
from steps.store import remembered


class CatalogMaterializer(BaseMaterializer):
    """Tables in Parquet; images are copied only when they are rendered ones, else they stay where the user has them."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Catalog,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def load(self, data_type: type[Any]) -> Catalog:
        with remembered(self.artifact_store, self.uri):
            return read_catalog(self.uri)

    def save(self, data: Catalog) -> None:
        if data.image_root == EMBEDDED_ROOT:
            self._copy_images(data)
        # Last, because it writes the manifest, without which the folder counts as unfinished.
        write_catalog(data, self.uri)

    def compute_content_hash(self, data: Catalog) -> str:
        return f"{data.digest}:{data.image_root}"

    def extract_metadata(self, data: Catalog) -> dict[str, Any]:
        return {
            "digest": data.digest,
            "num_products": len(data.products),
            "num_queries": len(data.queries),
            "num_images": len(data.images),
        }

    def _copy_images(self, data: Catalog) -> None:
        target_fs, base = fsspec.url_to_fs(self.uri)
        folders = {f"{base}/{ref}".rpartition("/")[0] for ref in data.images}
        for folder in folders:
            target_fs.makedirs(folder, exist_ok=True)
        for ref, record in data.images.items():
            # Through Photo, so that a file that changed since it was ingested is refused here and not later.
            if record.digest:
                target_fs.pipe_file(f"{base}/{ref}", data.photo(ref).read_bytes())
