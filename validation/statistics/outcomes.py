"""What became of every single query or product, and how two encoders differ on the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from validation.errors import BenchmarkError
from validation.statistics.intervals import difference_interval

DIGITS = 6
"""Decimals that values of single items are kept with."""


@dataclass(frozen=True)
class Outcome:
    """One metric's value for every item asked."""

    ids: tuple[str, ...]
    """Queries or products, each once."""
    groups: tuple[str, ...]
    """Cluster of each for the intervals."""
    values: np.ndarray
    """(n,) float64: 0 or 1 for hits, a share for ranks."""


def without_slices(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Those of whole tasks: what is needed of an encoder that is compared with as a whole."""
    return {key: own for key, own in outcomes.items() if not key.endswith("]")}


def outcomes_to_dict(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Plain data, ready for JSON: items once for all metrics of them, values to six digits."""
    places: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    values = {
        key: [places.setdefault((own.ids, own.groups), len(places)), np.round(own.values, DIGITS).tolist()]
        for key, own in outcomes.items()
    }
    return {"items": [{"ids": list(ids), "groups": list(groups)} for ids, groups in places], "values": values}


def outcomes_from_dict(data: Mapping[str, Any]) -> dict[str, Outcome]:
    """Read what `outcomes_to_dict` gave.

    Raises:
        BenchmarkError: It is something else.
    """
    try:
        items = [(tuple(one["ids"]), tuple(one["groups"])) for one in data["items"]]
        return {
            key: Outcome(items[place][0], items[place][1], np.asarray(values, dtype=np.float64))
            for key, (place, values) in data["values"].items()
        }
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BenchmarkError("results item by item are damaged", got=str(error), fix="score the model again") from None


@dataclass(frozen=True)
class Difference:
    """How much better the first of two encoders is, on the same items."""

    value: float
    low: float
    high: float
    """Ends of the interval; resampled are whole groups, with both encoders' values of an item together."""
    n: int
    """Items, each counted once for each of its repetitions."""


def pooled(outcomes: Sequence[Outcome]) -> Outcome:
    """Items of several folds or seeds as one; an item asked again keeps its group, so repetitions are no new evidence.

    Ids get the number of their part, since the same one may come back under another seed.
    """
    return Outcome(
        tuple(f"{number}:{key}" for number, one in enumerate(outcomes) for key in one.ids),
        tuple(group for one in outcomes for group in one.groups),
        np.concatenate([one.values for one in outcomes]) if outcomes else np.zeros(0),
    )


def paired_parts(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    """Differences item by item, ours less theirs, with the items' groups; a part a metric.

    Args:
        ours: One outcome a metric.
        theirs: The other encoder's, on the very same items in any order.

    Returns:
        A part a metric: (n,) differences and n groups.

    Raises:
        BenchmarkError: The two were not asked the same items, or group them differently, or have no item at all, or a
            value is not finite.
    """
    parts = []
    if len(ours) != len(theirs) or not ours:
        raise BenchmarkError(
            "two encoders cannot be compared in pairs: they were not scored by the same metrics",
            got=f"{len(ours)} and {len(theirs)} metrics",
            fix="score both on the same evaluation set",
        )
    for own, other in zip(ours, theirs, strict=True):
        place = {key: row for row, key in enumerate(other.ids)}
        if place.keys() != set(own.ids) or not len(place) == len(own.ids) == len(other.ids):
            odd = sorted(place.keys() ^ set(own.ids))
            raise BenchmarkError(
                "two encoders cannot be compared in pairs: they were asked different items",
                got=", ".join(odd[:3]) or "an item twice",
                fix="score both on the same evaluation set",
            )
        if not own.ids:
            raise BenchmarkError("two encoders cannot be compared in pairs: no item was asked", fix="ask at least one")
        rows = [place[key] for key in own.ids]
        values = np.asarray(own.values, dtype=np.float64) - np.asarray(other.values, dtype=np.float64)[rows]
        moved = [key for key, group, row in zip(own.ids, own.groups, rows, strict=True) if group != other.groups[row]]
        if moved:
            raise BenchmarkError(
                "two encoders cannot be compared in pairs: their items are grouped differently",
                got=", ".join(moved[:3]),
                fix="score both on the same evaluation set",
            )
        if not np.isfinite(values).all():
            odd = [key for key, value in zip(own.ids, values, strict=True) if not np.isfinite(value)]
            raise BenchmarkError(
                "two encoders cannot be compared in pairs: a value is not a finite number",
                got=", ".join(odd[:3]),
                fix="score the encoders again",
            )
        parts.append((values, own.groups))
    return parts


def paired_difference(
    ours: Sequence[Outcome], theirs: Sequence[Outcome], *, num_bootstrap: int, confidence: float, seed: int
) -> Difference:
    """Mean of the metrics' mean differences, with one resample of groups for all of them.

    Args:
        ours: One outcome a metric.
        theirs: The other encoder's on the very same items.
        num_bootstrap: Resamples.
        confidence: Coverage of the interval.
        seed: Of the resampling.

    Raises:
        BenchmarkError: As `paired_parts`.
    """
    parts = paired_parts(ours, theirs)
    low, high = difference_interval(parts, num_bootstrap=num_bootstrap, confidence=confidence, seed=seed)
    value = float(np.mean([values.mean() for values, _ in parts]))
    return Difference(value, low, high, sum(len(values) for values, _ in parts))
