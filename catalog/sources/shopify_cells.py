"""Columns of a Shopify product export, under the names of the older and the newer form, and its options."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from catalog.sources.attribute_text import even_spaces
from catalog.sources.tables import RawRow

COLUMNS = {
    "handle": ("Handle", "URL handle"),
    "title": ("Title",),
    "body": ("Body (HTML)", "Description"),
    "vendor": ("Vendor",),
    "category": ("Product Category", "Standard Product Type"),
    "type": ("Type", "Custom Product Type"),
    "tags": ("Tags",),
    "published": ("Published", "Published on online store"),
    "status": ("Status",),
    "sku": ("Variant SKU", "SKU"),
    "price": ("Variant Price", "Price"),
    "image": ("Image Src", "Product image URL"),
    "position": ("Image Position",),
    "alt": ("Image Alt Text",),
    "variant_image": ("Variant Image", "Variant image URL"),
} | {
    f"option{number}_{part}": (f"Option{number} {part.title()}",) for number in (1, 2, 3) for part in ("name", "value")
}
"""Our short name to the column's; letter case does not count."""

REQUIRED = ("handle", "title")
COLOUR_OPTIONS = frozenset(
    ("color", "colour", "farbe", "couleur", "colore", "kleur", "cor", "颜色", "颜色分类", "顏色", "カラー", "색상")
)
"""Names of an option that changes what a photograph shows, in lower case."""

_NO_OPTION = ("title", "default title")
_METAFIELD = re.compile(r"(.+?)\s*\((?:product\.)?metafields\.[^)]+\)", re.IGNORECASE)
_SHOP_KEEPING = (
    "google shopping / ",
    "variant ",
    "option",
    "unit price",
    "image ",
    "seo ",
    "price / ",
    "included / ",
    "compare-at price",
    "inventory ",
    "tax ",
    "weight ",
)
_SHOP_KEEPING_WHOLE = (
    "gift card",
    "cost per item",
    "barcode",
    "charge tax",
    "continue selling when out of stock",
    "requires shipping",
    "fulfillment service",
)


def columns_of_header(header: Iterable[str]) -> dict[str, str]:
    """Our short names to the columns that this export has."""
    by_case = {name.casefold(): name for name in header}
    found = {}
    for short, names in COLUMNS.items():
        column = next((by_case[name.casefold()] for name in names if name.casefold() in by_case), None)
        if column is not None:
            found[short] = column
    return found


def metafields_of_header(header: Iterable[str]) -> dict[str, str]:
    """Columns of metafields to the attribute each holds: `Fabric (product.metafields.custom.fabric)`."""
    return {name: match[1] for name in header if (match := _METAFIELD.fullmatch(name))}


def is_shop_keeping(column: str) -> bool:
    """Whether a column is about stock, tax, advertising or search engines rather than the product."""
    folded = column.casefold()
    return folded.startswith(_SHOP_KEEPING) or folded in _SHOP_KEEPING_WHOLE


@dataclass(frozen=True)
class Cells:
    """The cells of one row by our short names; empty ones as ''."""

    row: RawRow
    columns: dict[str, str]

    def __getitem__(self, short: str) -> str:
        cell = self.row.get(self.columns.get(short, ""))
        return str(cell).strip() if cell is not None else ""


@dataclass
class Variants:
    """The variants of one colour of one article."""

    colour: str = ""
    options: dict[str, dict[str, None]] = field(default_factory=dict)
    """Option name to its values, in order of appearance."""
    skus: list[str] = field(default_factory=list)
    prices: list[str] = field(default_factory=list)
    images: dict[str, None] = field(default_factory=dict)

    def attributes(self) -> dict[str, Any]:
        """Each option's values: one as text, several as a list."""
        return {name: list(values) if len(values) > 1 else next(iter(values)) for name, values in self.options.items()}


def options_of(first: Cells, row: Cells) -> dict[str, str]:
    """The options of a variant's row; their names stand in the article's first row alone.

    Shopify writes the option `Title: Default Title` where an article has none.
    """
    found = {}
    for number in (1, 2, 3):
        name = even_spaces(row[f"option{number}_name"] or first[f"option{number}_name"])
        value = even_spaces(row[f"option{number}_value"])
        if name and value and (name.casefold(), value.casefold()) != _NO_OPTION:
            found[name] = value
    return found


def colour_of(options: dict[str, str]) -> str:
    """The value of the option that is a colour, or '' where none is."""
    return next((value for name, value in options.items() if name.casefold() in COLOUR_OPTIONS), "")


def by_colour(variants: Iterable[tuple[dict[str, str], Cells]]) -> list[Variants]:
    """Variants put together by colour, letter case aside; their other options become lists of values."""
    found: dict[str, Variants] = {}
    for options, row in variants:
        colour = colour_of(options)
        group = found.setdefault(colour.casefold(), Variants(colour))
        for name, value in options.items():
            value = group.colour if name.casefold() in COLOUR_OPTIONS else value
            group.options.setdefault(name, {})[value] = None
        if row["sku"]:
            group.skus.append(row["sku"])
        if row["price"]:
            group.prices.append(row["price"])
        if row["variant_image"]:
            group.images[row["variant_image"]] = None
    return list(found.values())
