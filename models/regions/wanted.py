"""What is known of the product that a photograph is asked for: the words that may steer its core region."""

from __future__ import annotations

from dataclasses import dataclass

from catalog import Product


@dataclass(frozen=True)
class Wanted:
    """The fields that may be read; a field under test is absent, so that a crop never gives the answer away.

    A shopper's photograph has at most its words, as the title.
    """

    title: str | None = None
    category: tuple[str, ...] = ()
    """Path from the root to the leaf."""
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Names with their values, sorted by name."""

    @classmethod
    def of(cls, product: Product) -> Wanted:
        """What `product` still tells, its hidden fields gone."""
        values = {name: (value,) if isinstance(value, str) else value for name, value in product.attributes.items()}
        return cls(product.title, product.category, tuple(sorted(values.items())))


NOTHING_KNOWN = Wanted()
"""Of a photograph that comes without a word."""
