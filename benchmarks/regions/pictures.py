"""Photographs of a folder, decoded, with what is known of the product each is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from catalog import Catalog, CatalogConfig, CatalogError
from catalog.sources import load_catalog
from models.regions import Wanted


@dataclass(frozen=True)
class Asked:
    """A photograph that is asked for its core region."""

    ref: str
    image: Image.Image
    wanted: Wanted
    group: str
    """Photographs of one group are no independent evidence."""


def read_data(folder: Path) -> Catalog:
    """The catalogue, or evaluation set of photographs, in a folder.

    Raises:
        CatalogError: It cannot be read.
    """
    return load_catalog(CatalogConfig(source="folder", path=str(folder)), work_dir=str(folder))


def asked_photos(catalog: Catalog, refs: list[str] | None, most: int | None = None) -> list[Asked]:
    """Photographs by reference, sorted, the first `most` of them; every one where `refs` is None.

    Raises:
        CatalogError: A reference that the catalogue does not have.
    """
    known: dict[str, tuple[Wanted, str]] = {}
    for product in catalog.products:
        for ref in product.images:
            known.setdefault(ref, (Wanted.of(product), product.group_id))
    for query in catalog.queries:
        if query.image:
            known.setdefault(query.image, (Wanted(query.text), query.image))
    missing = sorted(set(refs or ()) - set(known))
    if missing:
        raise CatalogError("no such photographs", where=catalog.name, got=", ".join(missing[:3]), fix="name its folder")
    wanted = sorted(known if refs is None else refs)[:most]
    return [Asked(ref, catalog.photo(ref).load(), *known[ref]) for ref in wanted]
