"""Which products and queries are looked at: the first of a side, never the prettiest."""

from __future__ import annotations

from catalog import Catalog, ProductItem, QueryItem, Side, Splits
from catalog.labels import category_label

Pair = tuple[ProductItem, QueryItem | str]
"""A product and what it is held against: a query, or a label text."""


def query_kind(query: QueryItem) -> str:
    """`text`, `photo` or `both`."""
    return "text" if query.photo is None else "photo" if query.text is None else "both"


def bought_pairs(catalog: Catalog, splits: Splits, side: Side = Side.TEST) -> list[tuple[ProductItem, QueryItem]]:
    """Products of a side, and the queries that led to them, in the order of the queries' ids.

    A query that led to several products is paired with the first of them. True boxes come along, for whoever judges
    maps; no encoder reads them.
    """
    on_side = set(splits.product_ids(side)) & catalog.by_id.keys()
    pairs = []
    for query in sorted(splits.queries.get(side, ()), key=lambda query: query.query_id):
        bought = sorted(on_side.intersection(query.product_ids))
        if bought:
            pairs.append((catalog.item(catalog.by_id[bought[0]]), catalog.query_item(query)))
    return pairs


def typical_pairs(catalog: Catalog, splits: Splits, num: int, side: Side = Side.TEST) -> list[Pair]:
    """A few pairs for a run's figures: kinds of query in turn; where no one bought, products and their category.

    Args:
        catalog: The validated catalogue.
        splits: Its split.
        num: How many at most.
        side: Whose products.
    """
    waiting: dict[str, list[tuple[ProductItem, QueryItem]]] = {"photo": [], "text": [], "both": []}
    for item, query in bought_pairs(catalog, splits, side):
        waiting[query_kind(query)].append((item, query))
    found: list[Pair] = []
    seen: set[str] = set()
    while len(found) < num and any(waiting.values()):
        for rows in waiting.values():
            while rows:
                item, query = rows.pop(0)
                if item.product.product_id not in seen:
                    seen.add(item.product.product_id)
                    found.append((item, query))
                    break
    if not found:
        keys = sorted(key for key in splits.product_ids(side) if key in catalog.by_id and catalog.by_id[key].category)
        found = [(item, category_label(item.product.category)) for item in catalog.items(keys[:num])]
    return found[:num]
