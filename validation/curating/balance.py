"""Caps that leave every leaf category its share: no head so large that the tail does not count."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.catalog import Catalog
from catalog.labels import category_label
from catalog.rows import Product
from catalog.splits import Side
from validation.curating.config import CuratingConfig
from validation.curating.findings import Found, Rule, found
from validation.errors import BenchmarkError

NO_CATEGORY = "(no category)"


@dataclass(frozen=True)
class Balanced:
    """Which test products stay."""

    kept: frozenset[str]
    leaves: dict[str, tuple[int, int]]
    """Leaf -> test products before and after."""
    findings: tuple[Found, ...]


def draw(salt: str, *names: str) -> str:
    """A number, as hexadecimal digits, that depends on salt and names alone."""
    return hashlib.sha256("\x00".join((salt, *names)).encode()).hexdigest()


def leaf_of(product: Product) -> str:
    """The label of the product's leaf category."""
    return category_label(product.category) if product.category else NO_CATEGORY


def balance(catalog: Catalog, side_of: Mapping[str, Side], cfg: CuratingConfig) -> Balanced:
    """Draw at most `max_leaf_products` test products a leaf and at most `max_gallery` in all.

    Draws go group by group, so that the variants of an article stay together, and by hash: a product's place in the
    draw never depends on the others. Under the gallery's cap every leaf keeps `min_leaf_products` if it has them; the
    largest leaves give first.

    Raises:
        BenchmarkError: No product is on the test side, or `max_gallery` is below what the tail is to keep.
    """
    # A catalogue of labelled photographs alone has no products, and is a set to judge on all the same.
    leaves: dict[str, list[Product]] = {}
    for row in catalog.products:
        if side_of.get(row.product_id) is Side.TEST:
            leaves.setdefault(leaf_of(row), []).append(row)
    if not leaves and catalog.products:
        raise BenchmarkError(
            "no product to judge on",
            where="the test side",
            got=f"{len(catalog.products)} products, none on this side",
            fix="use a larger catalogue, or raise catalog.split.test_frac",
        )
    before = {leaf: len(rows) for leaf, rows in sorted(leaves.items())}
    capped = {leaf: min(size, cfg.max_leaf_products or size) for leaf, size in before.items()}
    after = _shares(capped, cfg) if cfg.max_gallery is not None else capped

    def ordered(rows: Sequence[Product]) -> list[str]:
        rows = sorted(rows, key=lambda row: (draw(cfg.salt, row.group_id), draw(cfg.salt, row.product_id)))
        return [row.product_id for row in rows]

    order = {leaf: ordered(rows) for leaf, rows in leaves.items()}
    small = [f"{leaf}: {size}" for leaf, size in before.items() if size < cfg.min_leaf_products]
    return Balanced(
        frozenset(key for leaf, size in after.items() for key in order[leaf][:size]),
        {leaf: (size, after[leaf]) for leaf, size in before.items()},
        (
            found(
                Rule.LEAF_CAP,
                "test products lie beyond their leaf's cap; left out of the gallery",
                [key for leaf, size in capped.items() for key in order[leaf][size:]],
            ),
            found(
                Rule.GALLERY_CAP,
                "test products lie beyond the gallery's cap; left out",
                [key for leaf, size in after.items() for key in order[leaf][size : capped[leaf]]],
            ),
            found(
                Rule.SMALL_LEAVES, f"leaves have fewer than {cfg.min_leaf_products} test products; kept whole", small
            ),
        ),
    )


def _shares(sizes: Mapping[str, int], cfg: CuratingConfig) -> dict[str, int]:
    """The most even shares that sum up to the cap, none below the floor."""
    most = cfg.max_gallery or 0
    if sum(sizes.values()) <= most:
        return dict(sizes)
    floor = sum(min(size, cfg.min_leaf_products) for size in sizes.values())
    if floor > most:
        raise BenchmarkError(
            "the gallery's cap is below what the tail is to keep",
            where="curating.max_gallery",
            got=f"{most} for {len(sizes)} leaves",
            allowed=f"at least {floor}, {cfg.min_leaf_products} a leaf where it has them",
            fix="raise curating.max_gallery, or lower curating.min_leaf_products",
        )

    def at(level: int) -> dict[str, int]:
        return {leaf: min(size, level) for leaf, size in sizes.items()}

    # The floors fit, so the level is at least as high: they need no rule of their own.
    low, high = cfg.min_leaf_products, max(sizes.values(), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(at(middle).values()) <= most else (low, middle - 1)
    shares = at(low)
    spare = most - sum(shares.values())
    growing = [leaf for leaf, size in sizes.items() if size > low]
    for leaf in sorted(growing, key=lambda leaf: draw(cfg.salt, leaf))[:spare]:
        shares[leaf] += 1
    return shares
