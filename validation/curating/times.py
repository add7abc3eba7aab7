"""The cut in time: nothing from after T on the train side, nothing from before T on the test side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from catalog.catalog import Catalog
from catalog.config import SplitConfig
from catalog.rows import Query, QueryKind
from catalog.splits import Side, Splits, split_catalog
from validation.curating.config import CuratingConfig
from validation.curating.findings import Found, Rule, found
from validation.errors import BenchmarkError

ASKED = (QueryKind.TEXT, QueryKind.PHOTO, QueryKind.BOTH)
"""Kinds that stand for something a shopper asked at a moment."""


def keep_to_time(catalog: Catalog, split: SplitConfig, cfg: CuratingConfig) -> tuple[Catalog, SplitConfig, list[Found]]:
    """Drop the queries that a cut in time forbids, and those that lie on several sides of the split.

    Without a cut nothing is dropped for its time; stamps that cannot be right are told all the same.

    Returns:
        The catalogue; the split with its cut in seconds, also where the recipe gave a quantile, which is one of the
        stamps that can be right; what was found.

    Raises:
        BenchmarkError: The cut leaves no query of a test product, or there is no stamp to take the quantile of.
    """
    has_cut = split.cut_time_s is not None or split.cut_quantile is not None
    absurd = {
        query.query_id
        for query in catalog.queries
        if query.timestamp is not None and not _can_be_right(query.timestamp, cfg)
    }
    rest = replace(catalog, queries=tuple(query for query in catalog.queries if query.query_id not in absurd))
    sides = split_catalog(rest, split)
    if has_cut and sides.cut_time_s is None:
        raise BenchmarkError(
            "a cut in time needs timestamps",
            where="catalog.split.cut_quantile",
            got=f"{len(catalog.queries)} queries, none with a stamp that can be right",
            fix="give the queries a timestamp, or leave the cut out",
        )
    cut, gone = sides.cut_time_s, set(absurd) if has_cut else set()
    late, early, undated, several = [], [], [], []
    for query in catalog.queries:
        on = {sides.side_of[key] for key in (*query.product_ids, *query.anchor_ids) if key in sides.side_of}
        if query.query_id in gone:
            continue
        if len(on) > 1:
            several.append(query)
        elif query.timestamp is None:
            undated += [query] if query.kind in ASKED else []
        elif cut is not None and on:
            is_test = Side.TEST in on
            if is_test and query.timestamp < cut:
                early.append(query)
            elif not is_test and query.timestamp >= cut:
                late.append(query)
    gone |= {query.query_id for query in (*several, *late, *early)}
    drops_undated = cut is not None and not cfg.keep_undated
    if drops_undated:
        gone |= {query.query_id for query in undated}
    kept = replace(catalog, queries=tuple(query for query in catalog.queries if query.query_id not in gone))
    if cut is not None:
        _refuse_empty(catalog, kept, sides, cut)
    done = "dropped" if has_cut else "kept, since there is no cut in time"
    undone = "dropped, since their side of the cut is unknown" if drops_undated else "kept"
    told = (
        (Rule.STAMPS_ABSURD, f"queries have a stamp that cannot be right; {done}", _stamped(catalog, absurd)),
        (Rule.STAMPS_MISSING, f"queries have no stamp; {undone}", [query.query_id for query in undated]),
        (Rule.LATE_PURCHASES, "queries of train products come from after the cut; dropped", map(_named, late)),
        (Rule.EARLY_PURCHASES, "queries of test products come from before the cut; dropped", map(_named, early)),
        (
            Rule.ANSWERS_ON_SEVERAL_SIDES,
            "queries lead to products on several sides of the split; dropped",
            [query.query_id for query in several],
        ),
    )
    config = split.model_copy(update={"cut_time_s": cut, "cut_quantile": None})
    return kept, config, [found(rule, text, items) for rule, text, items in told]


def _can_be_right(stamp: float, cfg: CuratingConfig) -> bool:
    return math.isfinite(stamp) and cfg.earliest_s <= stamp <= cfg.log_end_s


def _named(query: Query) -> str:
    return f"{query.query_id} -> {', '.join(query.product_ids[:2])} at {query.timestamp:.0f}"


def _stamped(catalog: Catalog, keys: Iterable[str]) -> list[str]:
    stamps = {query.query_id: query.timestamp for query in catalog.queries}
    return [f"{key} at {stamps[key]:g}" for key in keys]


def _refuse_empty(before: Catalog, after: Catalog, sides: Splits, cut: float) -> None:
    asks_test: Callable[[Query], bool] = lambda query: (  # noqa: E731
        query.kind in ASKED and any(sides.side_of.get(key) is Side.TEST for key in query.product_ids)
    )
    num_before = sum(map(asks_test, before.queries))
    if num_before and not any(map(asks_test, after.queries)):
        stamps = [query.timestamp for query in before.queries if query.timestamp is not None]
        raise BenchmarkError(
            "the cut in time leaves no query of a test product",
            where="catalog.split.cut_time_s or cut_quantile",
            got=f"T = {cut:.0f}, {num_before} queries of test products before it or without a stamp",
            allowed=f"a T below the last stamps; the log goes from {min(stamps, default=0):.0f} "
            f"to {max(stamps, default=0):.0f}",
            fix="choose an earlier cut, or raise catalog.split.test_frac",
        )
