"""What a photograph may cost once it is in."""

from __future__ import annotations

from catalog import Catalog, ImageLimits


def ingested_limits(catalog: Catalog) -> ImageLimits:
    """The size of the catalogue's largest photographs.

    Ingestion held each of them against the configured limits; nothing that is read later by its digest can be larger,
    so the steps that follow need not be told, nor run again, when those limits change.
    """
    records = list(catalog.images.values())
    return ImageLimits(
        max_bytes=max((record.num_bytes for record in records), default=1),
        max_pixels=max((record.width_px * record.height_px for record in records), default=1),
    )
