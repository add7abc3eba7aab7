"""What a rival reads of a product: the same fields for all of them."""

from __future__ import annotations

from catalog.labels import attribute_label, category_label
from catalog.rows import Product


def product_words(product: Product) -> str:
    """Title, category and attribute values as one run of words, for rivals that count words."""
    return " ".join([product.title or "", *product.category, *(value for _, value in _pairs(product))])


def product_sentence(product: Product) -> str:
    """Title, category path and attributes as one text, for rivals that read sentences; empty where all are hidden.

    Category and attributes stand as the label texts of the benchmark have them. The title comes first: text towers cut
    what is too long at the end.
    """
    parts = [product.title or "", category_label(product.category) if product.category else ""]
    parts += [attribute_label(name, value) for name, value in _pairs(product)]
    return ". ".join(part for part in parts if part)


def _pairs(product: Product) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, given in product.attributes.items()
        for value in ((given,) if isinstance(given, str) else given)
    ]
