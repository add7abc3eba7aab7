"""How artifacts become files, and the digests that decide the cache."""

from steps.materializers.catalog import CatalogMaterializer
from steps.materializers.folder import DigestedFolderMaterializer, RegionStoreMaterializer
from steps.materializers.record import RecordMaterializer

__all__ = ["CatalogMaterializer", "DigestedFolderMaterializer", "RecordMaterializer", "RegionStoreMaterializer"]
