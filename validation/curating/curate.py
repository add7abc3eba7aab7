"""All rules in order, each on what the one before has left."""

from __future__ import annotations

from dataclasses import dataclass, replace

from catalog.catalog import Catalog
from catalog.config import SplitConfig
from catalog.images import ImageLimits
from catalog.splits import Side, Splits, split_catalog
from validation.curating.asked import keep_photos_apart
from validation.curating.balance import balance
from validation.curating.config import CuratingConfig
from validation.curating.duplicates import merge_duplicates
from validation.curating.findings import Found, Rule, found
from validation.curating.groups import unite_groups
from validation.curating.photos import has_something_to_show, link_photos
from validation.curating.relevance import count_relevance
from validation.curating.times import keep_to_time


@dataclass(frozen=True)
class Curated:
    """What an evaluation set may be built of."""

    catalog: Catalog
    """Rows sorted by id; group ids are those of the united groups."""
    splits: Splits
    split: SplitConfig
    """What decided the sides, with the cut in time in seconds."""
    findings: tuple[Found, ...]
    """One for every rule."""
    leaves: dict[str, tuple[int, int]]
    """Leaf category -> test products before and after the caps."""


def curate(catalog: Catalog, split: SplitConfig, cfg: CuratingConfig, limits: ImageLimits = ImageLimits()) -> Curated:
    """Deduplicate, unite leaked groups, keep to the cut in time, count relevance, balance.

    Neither the order of rows nor where the files lie changes the result, and curating a result again with its own
    `split` changes nothing.

    Args:
        catalog: As ingested.
        split: Sides and the cut in time.
        cfg: Thresholds and caps.
        limits: What decoding an image may cost.

    Raises:
        BenchmarkError: Nothing is left to judge on, and which rule took the last of it; or a placeholder picture ties
            the shop together.
        ConfigError: A leaf to hold out is not in the catalogue.
        ImageError: A file changed since it was ingested.
    """
    findings: list[Found] = []

    def note(made: list[Found]) -> None:
        findings.extend(made)

    shop_group = {row.product_id: row.group_id for row in catalog.products}
    empty = {row.product_id for row in catalog.products if not has_something_to_show(catalog, row)}
    note([found(Rule.NOTHING_TO_SHOW, "products have no title and no photo that can be read; dropped", empty)])
    shown = catalog.subset(shop_group.keys() - empty) if empty else catalog
    photos = link_photos(shown, cfg, limits)
    united, made = unite_groups(shown, split, cfg, photos)
    note(made)
    single, made = merge_duplicates(united, cfg, photos, shop_group)
    note(made)
    timely, split, made = keep_to_time(single, split, cfg)
    note(made)
    sides = split_catalog(timely, split)
    apart, made = keep_photos_apart(timely, sides.side_of, photos)
    note(made)
    counted, made = count_relevance(apart, sides.side_of, cfg, photos)
    note(made)
    balanced = balance(counted, sides.side_of, cfg)
    note(list(balanced.findings))
    off_test = {key for key, side in sides.side_of.items() if side is not Side.TEST}
    left = counted.subset(off_test | balanced.kept)
    lost = {query.query_id for query in counted.queries} - {query.query_id for query in left.queries}
    note([found(Rule.QUERIES_WITHOUT_ANSWERS, "queries led only to products that a cap left out; dropped", lost)])
    left = replace(
        left,
        products=tuple(sorted(left.products, key=lambda row: row.product_id)),
        queries=tuple(sorted(left.queries, key=lambda row: row.query_id)),
    )
    return Curated(left, _sides_of(left, sides, split), split, tuple(findings), balanced.leaves)


def _sides_of(catalog: Catalog, sides: Splits, split: SplitConfig) -> Splits:
    side_of = {row.product_id: sides.side_of[row.product_id] for row in catalog.products}
    queries: dict[Side, list[str]] = {side: [] for side in Side}
    by_id = {query.query_id: query for query in catalog.queries}
    for query in catalog.queries:
        on = {side_of[key] for key in (*query.product_ids, *query.anchor_ids) if key in side_of}
        if len(on) == 1:
            queries[on.pop()].append(query.query_id)
    chosen = {side: tuple(by_id[key] for key in keys) for side, keys in queries.items()}
    return Splits(side_of, chosen, {}, split.cut_time_s, split)
