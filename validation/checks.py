"""Every data check by name: what it asks, how bad a no is, and what to do about it.

The configuration, the suites and the page all read from here. The module imports nothing, so that reading a recipe
costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What a failed check does: stops the run or sets rows aside, is reported, or is not made."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


class Suite(StrEnum):
    """The table a check looks at."""

    PRODUCTS = "products"
    CATEGORIES = "categories"
    ATTRIBUTES = "attributes"
    IMAGES = "images"
    QUERIES = "queries"


@dataclass(frozen=True)
class Check:
    """One question to one column."""

    name: str
    suite: Suite
    column: str
    level: Level
    failed: str
    """What is wrong with the rows it finds, in plain words."""
    fix: str


_P, _C, _A, _I, _Q = Suite.PRODUCTS, Suite.CATEGORIES, Suite.ATTRIBUTES, Suite.IMAGES, Suite.QUERIES
_E, _W = Level.ERROR, Level.WARNING

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("product_ids_unique", _P, "product_id", _E, "product ids stand twice", "give each product its own id"),
        Check(
            "product_has_content",
            _P,
            "has_content",
            _E,
            "products have neither a title nor a usable photo",
            "add a title or mend the photo",
        ),
        Check(
            "title_present",
            _P,
            "title_chars",
            _W,
            "products have no title",
            "add titles; words are half of what is learnt",
        ),
        Check(
            "title_length",
            _P,
            "title_chars",
            _W,
            "titles are unusually short or long",
            "check what the title column holds",
        ),
        Check(
            "title_markup",
            _P,
            "title_markup",
            _W,
            "titles hold HTML entities or tags",
            "write the characters themselves, for example html.unescape(title)",
        ),
        Check(
            "photo_present",
            _P,
            "num_photos",
            _W,
            "products have no photo",
            "add photos; these products cannot be found by one",
        ),
        Check(
            "category_present",
            _P,
            "category_levels",
            _W,
            "products have no category",
            "add the category path, root first",
        ),
        Check(
            "category_depth",
            _P,
            "category_levels",
            _W,
            "category paths are unusually shallow or deep",
            "check the category column",
        ),
        Check(
            "attributes_present",
            _P,
            "num_attributes",
            _W,
            "products have no attributes",
            "add attributes, or lower min_attributes_frac",
        ),
        Check(
            "price_range",
            _P,
            "price",
            _W,
            "prices are out of the expected range",
            "check the price column and its currency",
        ),
        Check(
            "leaf_size",
            _C,
            "num_products",
            _W,
            "leaf categories have few products",
            "merge them with a neighbour, or do not judge by them",
        ),
        Check(
            "leaf_share",
            _C,
            "share",
            _W,
            "a leaf category holds most products",
            "a majority guess will look good: read scores beside that baseline",
        ),
        Check(
            "attribute_coverage",
            _A,
            "coverage",
            _W,
            "attributes are given for few products",
            "fill them in, or leave them out",
        ),
        Check(
            "image_usable",
            _I,
            "status",
            _E,
            "product photos cannot be used",
            "replace the files, drop the references, or set `checks.on_error: quarantine`",
        ),
        Check("image_size", _I, "short_side_px", _W, "photos are small", "use larger originals"),
        Check("image_aspect", _I, "aspect", _W, "photos are very long and narrow", "check for banners and collages"),
        Check(
            "box_inside",
            _I,
            "box_outside",
            _W,
            "core boxes reach out of their photo",
            "give boxes in pixels of the upright photo",
        ),
        Check(
            "identical_across_groups",
            _I,
            "identical_in",
            _W,
            "photos stand, to the byte, in products of different groups",
            "give variants of one article one group_id; remove placeholder pictures",
        ),
        Check(
            "near_identical_across_groups",
            _I,
            "near_identical_in",
            _W,
            "photos are nearly the same in products of different groups",
            "give variants of one article one group_id; remove placeholder pictures",
        ),
        Check(
            "identical_across_sides",
            _I,
            "identical_on_test",
            _E,
            "training photos stand, to the byte, on the test side",
            "give the products one group_id, so that one side has them all",
        ),
        Check(
            "near_identical_across_sides",
            _I,
            "near_identical_on_test",
            _W,
            "training photos are nearly the same as one on the test side",
            "give the products one group_id, so that one side has them all",
        ),
        Check("query_ids_unique", _Q, "query_id", _E, "query ids stand twice", "give each query its own id"),
        Check(
            "query_references_resolve",
            _Q,
            "missing_product",
            _E,
            "queries refer to products that are not there",
            "add the products or drop the queries",
        ),
        Check(
            "query_photo_usable",
            _Q,
            "photo_status",
            _E,
            "query photos cannot be used",
            "replace the files or drop the queries",
        ),
        Check(
            "query_text_length",
            _Q,
            "text_chars",
            _W,
            "query texts are unusually short or long",
            "check what the text column holds",
        ),
        Check(
            "query_photo_in_gallery",
            _Q,
            "same_as_product_photo",
            _E,
            "query photos stand, to the byte, in the catalogue, so finding them proves nothing",
            "use another photograph of the product, or mark the query `augmented`",
        ),
        Check(
            "query_photo_near_gallery",
            _Q,
            "near_product_photo",
            _W,
            "query photos are nearly the same as one in the catalogue",
            "the benchmark takes such photos out of the gallery; mark edits and crops `augmented`",
        ),
        Check(
            "query_photo_across_sides",
            _Q,
            "photo_asked_on_test",
            _E,
            "photos of training queries are asked again on the test side",
            "give the products one group_id, or drop the queries",
        ),
    )
}
