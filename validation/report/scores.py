"""Records to the rows of the score and cost tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from validation.benchmark import SHOWN_METRICS, BenchmarkRecord, Score, shown
from validation.benchmark.metrics import lower_is_better

GROUPS = (
    ("Find a product", ("image_to_product", "text_to_product", "both_to_product", "product_to_product")),
    ("Across modalities", ("text_to_image", "image_to_text")),
    ("Label it", ("category", "attribute", "photo_label")),
)
OTHER = "Other questions"
MOST_ROWS = 400
"""Rows of one group's full table; a shop with hundreds of attributes has more, and says how many."""


@dataclass(frozen=True)
class Cell:
    """One encoder's score, ready to be shown."""

    text: str
    interval: str = ""
    bar: tuple[float, float, float] | None = None
    """Percent: length, then left end and length of the interval; None for ranks, which have no full length."""
    why: str = ""
    """Why there is no number."""


@dataclass(frozen=True)
class ScoreRow:
    """One metric of one task."""

    metric: str
    source: str
    """Where its queries come from, unless from purchases."""
    n: int
    pool: int
    cells: tuple[Cell, ...]
    best: tuple[int, ...]
    """Encoders with the best value."""
    is_rank: bool


@dataclass(frozen=True)
class ScoreGroup:
    """Tasks of one kind: a few rows to read, all of them to look up."""

    name: str
    rows: tuple[ScoreRow, ...]
    every: tuple[ScoreRow, ...]
    num_more: int
    """Rows left out of `every`."""


@dataclass(frozen=True)
class CostRow:
    """What an encoder costs, as texts with units."""

    encoder: str
    cells: tuple[str, ...]


COST_COLUMNS = (
    *("dimensions", "parameters", "weights, MiB", "ms a product", "ms a query", "ms a label"),
    *("judged in, s", "peak memory, MiB"),
)


def score_rows(records: Sequence[BenchmarkRecord], metrics: Iterable[str]) -> tuple[ScoreRow, ...]:
    """One row for each of `metrics` that any encoder has."""
    rows = (_row(records, metric) for metric in metrics)
    return tuple(row for row in rows if row is not None)


def score_groups(records: Sequence[BenchmarkRecord]) -> list[ScoreGroup]:
    """Every metric of every task, by what is asked for; groups without any are left out."""
    names = dict.fromkeys(key for own in records for key in own.scores)
    by_group: dict[str, list[str]] = {name: [] for name in (*(name for name, _ in GROUPS), OTHER)}
    for metric in names:
        by_group[_group_of(metric)].append(metric)
    groups = []
    for name, metrics in by_group.items():
        if metrics:
            read = [metric for metric in SHOWN_METRICS if metric in metrics]
            every = score_rows(records, metrics[:MOST_ROWS])
            groups.append(ScoreGroup(name, score_rows(records, read), every, max(0, len(metrics) - MOST_ROWS)))
    return groups


def cost_rows(records: Sequence[BenchmarkRecord]) -> list[CostRow]:
    """Size and latency, encoder by encoder; a dash where an encoder does not say."""
    rows = []
    for own in records:
        times = (own.timings.get(name) for name in ("product_ms", "query_ms", "label_ms", "total_s"))
        mib = None if own.model_bytes is None else own.model_bytes / (1 << 20)
        product, query, label, total = (_number(value) for value in times)
        cells = (_number(own.dims or None), _number(own.num_parameters), _number(mib), product, query, label, total)
        rows.append(CostRow(own.encoder, (*cells, _number(own.peak_memory_mib))))
    return rows


def interval_text(metric: str, score: Score) -> str:
    """The interval in the metric's unit."""
    return f"{shown(metric, score.low, 0)}–{shown(metric, score.high, 0)}"


def is_finite(score: Score) -> bool:
    """Whether value and interval are numbers that can be drawn."""
    return all(map(math.isfinite, (score.value, score.low, score.high)))


def _group_of(metric: str) -> str:
    task = metric.partition("/")[0]
    return next((name for name, prefixes in GROUPS if task.startswith(prefixes)), OTHER)


def _row(records: Sequence[BenchmarkRecord], metric: str) -> ScoreRow | None:
    known = [own.scores.get(metric) for own in records]
    first = next((score for score in known if score is not None), None)
    if first is None:
        return None
    sign = -1 if lower_is_better(metric) else 1
    values = {index: sign * score.value for index, score in enumerate(known) if score is not None and is_finite(score)}
    best = tuple(index for index, value in values.items() if value == max(values.values()))
    task = records[0].tasks.get(metric.partition("/")[0])
    source = task.query_source if task and task.query_source != "purchases" else ""
    cells = tuple(_cell(metric, score, own) for score, own in zip(known, records, strict=True))
    return ScoreRow(metric, source, first.n, first.pool, cells, best, lower_is_better(metric))


def _cell(metric: str, score: Score | None, record: BenchmarkRecord) -> Cell:
    if score is None:
        why = record.not_applicable.get(metric) or record.not_applicable.get(metric.partition("/")[0], "")
        return Cell("n/a", why=why)
    if not is_finite(score):
        return Cell("n/a", why="the score is not a finite number")
    bar = None
    if not lower_is_better(metric):
        bar = (100 * score.value, 100 * score.low, 100 * (score.high - score.low))
    return Cell(shown(metric, score.value), interval_text(metric, score), bar)


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    if 0 < value < 0.001:
        return "<0.001"
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.3g}"
