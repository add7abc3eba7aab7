"""Small shops of words alone, for rules that look at no picture."""

from __future__ import annotations

from collections.abc import Iterable

from catalog import Catalog, Product, Query, QueryKind, Side, Signal
from validation.curating.photos import PhotoLinks

NO_PHOTOS = PhotoLinks({}, {}, {}, {})


def product(key: str, group: str = "", **fields: object) -> Product:
    row = {"product_id": key, "group_id": group or key, "title": f"title of {key}", "category": ("Wear", "Tops")}
    return Product.model_validate({**row, **fields})


def bought(key: str, *products: str, text: str = "", **fields: object) -> Query:
    row = {"kind": QueryKind.TEXT, "text": text or f"words of {key}", "signal": Signal.PURCHASE}
    return Query.model_validate({"query_id": key, "product_ids": products, **row, **fields})


def shop(products: Iterable[Product], queries: Iterable[Query] = ()) -> Catalog:
    return Catalog("shop", tuple(products), tuple(queries))


def on_test(catalog: Catalog) -> dict[str, Side]:
    return dict.fromkeys(catalog.by_id, Side.TEST)
