"""Which side of the split a product and a query are on.

A hash of salt and group decides, so a product's side never changes as the catalogue grows, and no champion has
trained on a challenger's test set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

import numpy as np

from catalog.catalog import Catalog
from catalog.config import SplitConfig
from catalog.errors import ConfigError
from catalog.labels import category_label
from catalog.rows import Product, Query


class Side(StrEnum):
    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def split_position(salt: str, group_id: str) -> float:
    """A number in [0, 1) that depends on salt and group alone."""
    head = hashlib.sha256(f"{salt}\x00{group_id}".encode()).digest()[:8]
    # 53 bits, so that the division is exact and never rounds up to 1.
    return (int.from_bytes(head) >> 11) / 2**53


@dataclass(frozen=True)
class Splits:
    """Sides of products and the queries each side may use."""

    side_of: dict[str, Side]
    """product_id -> side."""
    queries: dict[Side, tuple[Query, ...]]
    dropped: dict[str, int]
    """Queries on no side, by reason: answers on several sides, or on the wrong side of the cut in time."""
    cut_time_s: float | None = None
    config: SplitConfig | None = None
    """What decided the sides; None where they were given."""

    def product_ids(self, side: Side) -> list[str]:
        return [key for key, value in self.side_of.items() if value == side]


def split_catalog(catalog: Catalog, config: SplitConfig) -> Splits:
    """Assign every product, and every query whose answers lie on one side, to a side.

    With a cut in time T: queries of train and validation products count before T only, queries of test products
    from T on. Queries without a timestamp are not judged by time.

    Raises:
        ConfigError: A leaf to hold out is not in the catalogue; a misspelt one would silently be trained on.
    """
    held_out = _held_out_groups(catalog, config)
    side_of = {product.product_id: _side(product, config, held_out) for product in catalog.products}
    cut = _cut_time(catalog.queries, config)
    chosen: dict[Side, list[Query]] = {side: [] for side in Side}
    dropped = {"answers on several sides": 0, "after the cut in time": 0, "before the cut in time": 0}
    for query in catalog.queries:
        sides = {side_of[key] for key in (*query.product_ids, *query.anchor_ids) if key in side_of}
        if not sides:
            continue
        if len(sides) > 1:
            dropped["answers on several sides"] += 1
            continue
        side = sides.pop()
        if cut is not None and query.timestamp is not None:
            if side is Side.TEST and query.timestamp < cut:
                dropped["before the cut in time"] += 1
                continue
            if side is not Side.TEST and query.timestamp >= cut:
                dropped["after the cut in time"] += 1
                continue
        chosen[side].append(query)
    return Splits(side_of, {side: tuple(rows) for side, rows in chosen.items()}, dropped, cut, config)


def _held_out_groups(catalog: Catalog, config: SplitConfig) -> set[str]:
    """Groups with a product in a leaf that is held out: all variants follow it, since no split divides a group."""
    if not config.hold_out_leaves:
        return set()
    groups: dict[str, set[str]] = {}
    for product in catalog.products:
        if product.category:
            groups.setdefault(category_label(product.category), set()).add(product.group_id)
    for leaf in config.hold_out_leaves:
        if leaf not in groups:
            near = get_close_matches(leaf, groups, n=1)
            raise ConfigError(
                "no product of the catalogue is in a leaf category that shall be held out",
                where="catalog.split.hold_out_leaves",
                got=leaf,
                allowed="the whole path from the root, levels joined by ' > '",
                fix=f"did you mean {near[0]}?" if near else "",
            )
    return {group for leaf in config.hold_out_leaves for group in groups[leaf]}


def _side(product: Product, config: SplitConfig, held_out: set[str]) -> Side:
    if product.group_id in held_out:
        return Side.TEST
    position = (split_position(config.salt, product.group_id) - config.offset_frac) % 1.0
    if position < config.test_frac:
        return Side.TEST
    return Side.VAL if position < config.test_frac + config.val_frac else Side.TRAIN


def _cut_time(queries: Sequence[Query], config: SplitConfig) -> float | None:
    if config.cut_quantile is None:
        return config.cut_time_s
    stamps = [query.timestamp for query in queries if query.timestamp is not None]
    return float(np.quantile(stamps, config.cut_quantile)) if stamps else None
