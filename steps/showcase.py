"""Examples for the report: kept as plain rows with image references, given their photographs back when it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from catalog import Box, Catalog, Photo
from models.regions import NOTHING_KNOWN, CoreRegions
from validation.benchmark import GalleryHit, GalleryRow


def rows_to_data(rows: Sequence[GalleryRow], regions: CoreRegions) -> list[dict[str, Any]]:
    """Rows as JSON; `core` is the box found in the query's photograph, pixels of the upright picture."""
    data = []
    for row in rows:
        plain = asdict(replace(row, photo=None, hits=(), right=None))
        plain["photo"] = row.photo.ref if row.photo else None
        plain["core"] = list(regions.core(row.photo, row.photo.load(), NOTHING_KNOWN).box) if row.photo else None
        plain["hits"] = [_hit_to_data(hit) for hit in row.hits]
        plain["right"] = _hit_to_data(row.right) if row.right else None
        data.append(plain)
    return data


def rows_from_data(data: Sequence[dict[str, Any]], catalog: Catalog) -> tuple[list[GalleryRow], dict[str, Box]]:
    """Rows with photographs of `catalog`, and the core boxes by query."""

    def photo(ref: str | None) -> Photo | None:
        return catalog.photo(ref) if ref else None

    def hit(plain: dict[str, Any]) -> GalleryHit:
        return GalleryHit(**plain | {"photo": photo(plain["photo"])})

    rows, cores = [], {}
    for plain in data:
        fields = {name: value for name, value in plain.items() if name not in ("photo", "hits", "right", "core")}
        hits = tuple(hit(own) for own in plain["hits"])
        right = hit(plain["right"]) if plain["right"] else None
        rows.append(GalleryRow(**fields, photo=photo(plain["photo"]), hits=hits, right=right))
        if plain["core"]:
            left, top, right, bottom = plain["core"]
            cores[str(plain["query_id"])] = (left, top, right, bottom)
    return rows, cores


def _hit_to_data(hit: GalleryHit) -> dict[str, Any]:
    return asdict(replace(hit, photo=None)) | {"photo": hit.photo.ref if hit.photo else None}
