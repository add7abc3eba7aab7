"""The tables the suites look at: one row a product, leaf category, attribute, product photo and query.

Each has `row`, its position, and `key`, its name for a person. A cell that a check does not concern is empty.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from catalog.catalog import IMAGE_OK, Catalog, ImageRecord
from catalog.labels import category_label
from catalog.rows import Box, Product, Query
from catalog.splits import Side, Splits
from validation.checks import Suite
from validation.data.alike import Lookalikes, is_asked, is_usable

if TYPE_CHECKING:
    import pandas as pd

_MARKUP = re.compile(r"&(?:#[0-9]+|#x[0-9a-fA-F]+|[A-Za-z]{2,8});|</?[a-z][^<>]*>")
_NO_RECORD = "image was not looked at"


def build_frames(catalog: Catalog, splits: Splits, alike: Lookalikes) -> dict[Suite, pd.DataFrame]:
    """A data frame for each suite; one without rows is left out."""
    import pandas as pd

    rows = {
        Suite.PRODUCTS: [_product_row(product, catalog) for product in catalog.products],
        Suite.CATEGORIES: _category_rows(catalog),
        Suite.ATTRIBUTES: _attribute_rows(catalog),
        Suite.IMAGES: image_rows(catalog, splits, alike),
        Suite.QUERIES: _query_rows(catalog, splits, alike),
    }
    frames = {suite: pd.DataFrame(found) for suite, found in rows.items() if found}
    for frame in frames.values():
        frame.insert(0, "row", range(len(frame)))
    return frames


def _product_row(product: Product, catalog: Catalog) -> dict[str, Any]:
    usable = [ref for ref in product.images if ref in catalog.images and is_usable(catalog.images[ref])]
    markup = _MARKUP.search(product.title or "")
    return {
        "key": product.product_id,
        "product_id": product.product_id,
        "has_content": bool(product.title or usable),
        "title_chars": len(product.title) if product.title else None,
        "title_markup": markup.group() if markup else None,
        "num_photos": len(product.images) or None,
        "category_levels": len(product.category) or None,
        "num_attributes": len(product.attributes) or None,
        "price": product.price,
    }


def _category_rows(catalog: Catalog) -> list[dict[str, Any]]:
    sizes = Counter(category_label(product.category) for product in catalog.products if product.category)
    total = sum(sizes.values())
    return [{"key": leaf, "num_products": size, "share": size / total} for leaf, size in sizes.most_common()]


def _attribute_rows(catalog: Catalog) -> list[dict[str, Any]]:
    sizes = Counter(name for product in catalog.products for name in product.attributes)
    return [{"key": name, "coverage": size / len(catalog.products)} for name, size in sizes.most_common()]


def image_rows(catalog: Catalog, splits: Splits, alike: Lookalikes) -> list[dict[str, Any]]:
    """One row for each photo of each product, in the catalogue's order."""
    rows = []
    for product in catalog.products:
        side = splits.side_of[product.product_id]
        for ref, box in zip(product.images, product.boxes or (None,) * len(product.images), strict=True):
            record = catalog.images.get(ref) or ImageRecord(ref, status=_NO_RECORD)
            usable = is_usable(record)
            short, long = sorted((record.width_px, record.height_px))
            row: dict[str, Any] = {
                "key": f"{product.product_id} {ref}",
                "status": record.status,
                "short_side_px": short if usable else None,
                "aspect": long / short if usable else None,
                "box_outside": _outside(box, record) if usable else None,
            }
            rows.append(row | _twins(product, side, record.digest if usable else "", alike, splits))
    return rows


def _twins(product: Product, side: Side, digest: str, alike: Lookalikes, splits: Splits) -> dict[str, str | None]:
    use = alike.uses.get(digest)
    if use is None:
        return dict.fromkeys(("identical_in", "near_identical_in", "identical_on_test", "near_identical_on_test"))
    elsewhere = [key for key in use.product_ids if key != product.product_id] if len(use.group_ids) > 1 else []
    on_test = [key for key in use.product_ids if side is not Side.TEST and splits.side_of[key] is Side.TEST]
    near_test = alike.on_test_side.get(digest) if side is not Side.TEST else None
    return {
        "identical_in": elsewhere[0] if elsewhere else None,
        "near_identical_in": _name(alike, alike.in_other_group.get(digest)),
        "identical_on_test": on_test[0] if on_test else None,
        "near_identical_on_test": _name(alike, near_test),
    }


def _query_rows(catalog: Catalog, splits: Splits, alike: Lookalikes) -> list[dict[str, Any]]:
    side_of = {query.query_id: side for side, queries in splits.queries.items() for query in queries}
    return [_query_row(query, side_of.get(query.query_id), catalog, alike) for query in catalog.queries]


def _query_row(query: Query, side: Side | None, catalog: Catalog, alike: Lookalikes) -> dict[str, Any]:
    missing = [key for key in (*query.product_ids, *query.anchor_ids) if key not in catalog.by_id]
    record = catalog.images.get(query.image) if query.image else None
    use = alike.uses.get(record.digest) if record else None
    in_gallery = use.product_ids[0] if use and use.product_ids and is_asked(query) else None
    near = alike.in_gallery.get(record.digest) if record and is_asked(query) and not in_gallery else None
    asked_on_test = bool(use and side not in (None, Side.TEST) and Side.TEST in use.asked_sides)
    return {
        "key": query.query_id,
        "query_id": query.query_id,
        "missing_product": missing[0] if missing else None,
        "photo_status": (record.status if record else _NO_RECORD) if query.image else IMAGE_OK,
        "text_chars": len(query.text) if query.text else None,
        "same_as_product_photo": in_gallery,
        "near_product_photo": _name(alike, near),
        "photo_asked_on_test": query.image if asked_on_test else None,
    }


def _name(alike: Lookalikes, digest: str | None) -> str | None:
    if digest is None:
        return None
    use = alike.uses[digest]
    return f"{use.product_ids[0]} {use.refs[0]}" if use.product_ids else use.refs[0]


def _outside(box: Box | None, record: ImageRecord) -> str | None:
    """The box as text when it reaches out of the photo; half a pixel is rounding."""
    if box is None:
        return None
    inside = min(box[:2]) >= -0.5 and box[2] <= record.width_px + 0.5 and box[3] <= record.height_px + 0.5
    return None if inside else f"{box} in {record.width_px} x {record.height_px}"
