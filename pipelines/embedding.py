"""embed_catalog: a whole catalogue through a registered model, into an index."""

from __future__ import annotations

from moon.config import MoonConfig
from pipelines.moon_pipeline import moon_pipeline
from steps.closing import closing_of_embedding
from steps.embed_catalog import embed_catalog as embed_catalog_step
from steps.ingest_catalog import ingest_catalog
from steps.validate_catalog import validate_catalog


@moon_pipeline(default_recipe="demo.yaml", closing=closing_of_embedding)
def embed_catalog(config: MoonConfig = MoonConfig(), version: str | None = None) -> None:
    catalog = ingest_catalog(catalog=config.catalog, on_error=config.checks.on_error)
    validated, _ = validate_catalog(catalog=catalog, section=config.catalog, checks=config.checks)
    embed_catalog_step(catalog=validated, version=version, serving=config.serving)
