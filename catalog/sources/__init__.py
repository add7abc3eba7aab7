"""Where catalogues come from: our own folders, data as others publish it, or the rendered demo shop."""

from catalog.sources.load import load_catalog, read_source

__all__ = ["load_catalog", "read_source"]
