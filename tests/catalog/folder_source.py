"""The folder source as its tests read it."""

from catalog import CatalogConfig
from catalog.sources import load_catalog


def load(folder, on_error="stop", **config):
    config = CatalogConfig(source="folder", path=str(folder), **config)
    return load_catalog(config, work_dir="unused", on_error=on_error)
