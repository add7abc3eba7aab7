"""What a product is and where catalogues come from: rows, sources, splits, images, and the Embedder protocol."""

from catalog.catalog import BadRow, Catalog, ImageRecord, read_catalog, resolve_root, write_catalog
from catalog.config import CatalogConfig, DemoConfig, Section, SplitConfig
from catalog.embedder import Embedder, check_vectors
from catalog.errors import CatalogError, ConfigError, ImageError, ModelError, MoonError, StorageError
from catalog.images import ImageLimits, Photo, decode_image, sha256_hex
from catalog.items import ProductItem, QueryItem, hide_fields
from catalog.names import Alias, ArtifactName
from catalog.rows import Box, Product, Query, QueryKind, Signal
from catalog.splits import Side, Splits, split_catalog

__all__ = [
    "Alias",
    "ArtifactName",
    "BadRow",
    "Box",
    "Catalog",
    "CatalogConfig",
    "CatalogError",
    "ConfigError",
    "DemoConfig",
    "Embedder",
    "ImageError",
    "ImageLimits",
    "ImageRecord",
    "ModelError",
    "MoonError",
    "Photo",
    "Product",
    "ProductItem",
    "Query",
    "QueryItem",
    "QueryKind",
    "Section",
    "Side",
    "Signal",
    "SplitConfig",
    "Splits",
    "StorageError",
    "check_vectors",
    "decode_image",
    "hide_fields",
    "read_catalog",
    "resolve_root",
    "sha256_hex",
    "split_catalog",
    "write_catalog",
]
