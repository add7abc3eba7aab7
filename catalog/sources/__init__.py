"""Where catalogues come from: a folder of rows and photographs, or the rendered demo shop."""

from catalog.sources.load import load_catalog

__all__ = ["load_catalog"]
