"""A catalogue as an artifact: its tables, and its images where they are its own."""

from __future__ import annotations

from typing import Any, ClassVar

from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

from catalog import Catalog, read_catalog, write_catalog
from catalog.catalog import EMBEDDED_ROOT, copy_images
from steps.store import remembered


class CatalogMaterializer(BaseMaterializer):
    """Tables in Parquet; images are copied only when we made the files, else they stay where the user has them."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Catalog,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def load(self, data_type: type[Any]) -> Catalog:
        with remembered(self.artifact_store, self.uri):
            return read_catalog(self.uri)

    def save(self, data: Catalog) -> None:
        if data.image_root == EMBEDDED_ROOT:
            copy_images(data, self.uri)
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
