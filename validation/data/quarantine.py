"""Setting bad rows aside: what goes, what stays, and the file that says why.

The smallest thing goes. A photo that cannot be used leaves its product, which stays for as long as it has a title or
another photo; a product or query that fails a check of its own goes as a whole, and a product takes the queries with
it that nothing else answers. Of rows that share an id the first stays.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from dataclasses import replace

from catalog.catalog import BadRow, Catalog
from catalog.errors import StorageError
from catalog.rows import Product
from validation.checks import Suite
from validation.data.verdict import DataVerdict

BadCells = dict[Suite, dict[int, list[str]]]
"""Reasons by suite and row position."""


def set_aside(catalog: Catalog, bad: BadCells) -> tuple[Catalog, list[BadRow]]:
    """Take bad rows and photos out of the catalogue.

    Args:
        catalog: What was checked.
        bad: Rows that failed a check of level error; positions as in `build_frames`.

    Returns:
        The rest, and a record of everything that went.
    """
    products, gone = _without_bad_photos(catalog, bad.get(Suite.IMAGES, {}))
    kept: list[Product] = []
    lost: dict[str, str] = {}
    for position, (product, had_photos) in enumerate(products):
        reasons = bad.get(Suite.PRODUCTS, {}).get(position, [])
        if not reasons and had_photos and not product.title and not product.images:
            reasons = ["no title and no photo left"]
        if reasons:
            gone.append(BadRow(f"product {product.product_id}", product.product_id, "; ".join(reasons)))
            lost.setdefault(product.product_id, reasons[0])
        else:
            kept.append(product)
    bad_queries = bad.get(Suite.QUERIES, {})
    queries = []
    for position, query in enumerate(catalog.queries):
        if position in bad_queries:
            gone.append(
                BadRow(f"query {query.query_id}", ",".join(query.product_ids), "; ".join(bad_queries[position]))
            )
        else:
            queries.append(query)
    kept_ids = {product.product_id for product in kept}
    rest = replace(catalog, products=tuple(kept), queries=tuple(queries)).subset(kept_ids)
    asked = {query.query_id for query in rest.queries}
    for query in queries:
        if query.query_id not in asked:
            reason = "all products it refers to were set aside"
            gone.append(BadRow(f"query {query.query_id}", ",".join(query.product_ids), reason))
    return rest, gone


def _without_bad_photos(catalog: Catalog, bad: dict[int, list[str]]) -> tuple[list[tuple[Product, bool]], list[BadRow]]:
    """Products without their bad photos, each with whether it had any to begin with."""
    gone: list[BadRow] = []
    products = []
    position = 0
    for product in catalog.products:
        places = []
        for place, ref in enumerate(product.images):
            if position in bad:
                gone.append(BadRow(ref, product.product_id, "; ".join(bad[position])))
            else:
                places.append(place)
            position += 1
        products.append((_only_photos(product, places), bool(product.images)))
    return products, gone


def _only_photos(product: Product, places: list[int]) -> Product:
    if len(places) == len(product.images):
        return product
    changes = {
        name: tuple(getattr(product, name)[place] for place in places) if getattr(product, name) else ()
        for name in ("images", "image_roles", "boxes")
    }
    return product.model_copy(update=changes)


def reasons_by_row(found: list[tuple[Suite, int, str]]) -> BadCells:
    """Gather reasons by suite and row."""
    bad: BadCells = defaultdict(lambda: defaultdict(list))
    for suite, row, reason in found:
        bad[suite][row].append(reason)
    return {suite: dict(rows) for suite, rows in bad.items()}


def write_quarantine(verdict: DataVerdict, path: str) -> None:
    """Write what was set aside as JSON lines with `where`, `product_id` and `reason`; whole or not at all.

    Args:
        verdict: Of `check_catalog`.
        path: Local file; an existing one is replaced. Nothing set aside gives an empty file.

    Raises:
        StorageError: The file cannot be written: no space, read-only, no such folder.
    """
    folder = os.path.dirname(os.path.abspath(path))
    temporary = ""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="utf-8") as stream:
            temporary = stream.name
            for row in verdict.quarantined:
                stream.write(json.dumps({"schema_version": 1, **vars(row)}, ensure_ascii=False) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise StorageError(
            "the list of rows set aside cannot be written",
            where=path,
            got=error.strerror or str(error),
            fix="make room or give another folder",
        ) from None
