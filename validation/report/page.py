"""Gathering a run's plain data and rendering the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from urllib.parse import urlsplit

from jinja2 import Environment, StrictUndefined

from catalog.rows import Box
from validation.benchmark import BenchmarkRecord, GalleryRow, main_score
from validation.benchmark.table import SHOWN_METRICS
from validation.gate import Decision
from validation.report.charts import COLOURS, CURVE_HEIGHT, CURVE_WIDTH, LEFT, curves, level_chart
from validation.report.thumbnails import Thumbnail, Thumbnails

_THUMBNAIL_PX = 150
_LINK_SCHEMES = ("", "http", "https", "file")


@dataclass(frozen=True)
class RunReport:
    """Everything the page shows; each part may be left out."""

    title: str
    records: Sequence[BenchmarkRecord]
    """The candidate first, then rivals and the champion, all of one evaluation set."""
    decision: Decision | None = None
    gallery: Sequence[GalleryRow] = ()
    cores: Mapping[str, Box] = field(default_factory=dict)
    """Query id -> box of the object asked for, pixels of the upright photo."""
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Name -> (step, value)."""
    phases_s: Mapping[str, float] = field(default_factory=dict)
    """Phase -> seconds, in the order they ran."""
    lineage: Mapping[str, str] = field(default_factory=dict)
    """Commit, digests, versions."""
    config_yaml: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    """Text -> address; only http, https, file and relative ones become links."""


@dataclass(frozen=True)
class _Cell:
    text: str
    value: float | None = None
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class _Row:
    metric: str
    source: str
    n: int
    pool: int
    cells: tuple[_Cell, ...]
    best: int


@dataclass(frozen=True)
class _Picture:
    row: GalleryRow
    query: Thumbnail | None
    hits: tuple[Thumbnail | None, ...]


def render_report(report: RunReport) -> str:
    """The page as one HTML document that loads nothing from anywhere.

    All texts are escaped: titles and queries come from shops and shoppers.

    Raises:
        ValueError: Records of different evaluation sets; their numbers do not belong side by side.
    """
    records = list(report.records)
    if len({own.eval_set_digest for own in records}) > 1:
        raise ValueError("these records come from different evaluation sets and cannot share a page")
    thumbnails = Thumbnails(_THUMBNAIL_PX)
    tasks: dict[str, list[_Picture]] = {}
    for row in report.gallery:
        query = thumbnails.of(row.photo, report.cores.get(row.query_id))
        hits = tuple(thumbnails.of(hit.photo) for hit in row.hits)
        tasks.setdefault(row.task, []).append(_Picture(row, query, hits))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("validation.report") / "page.html.j2").read_text(encoding="utf-8"))
    total_s = sum(report.phases_s.values())
    return template.render(
        report=report,
        decision=report.decision,
        records=records,
        colours=COLOURS,
        rows=_score_rows(records),
        main=[main_score(own) for own in records],
        levels=level_chart(records),
        left=LEFT,
        gallery=tasks,
        curves=curves(report.curves),
        curve_size=(CURVE_WIDTH, CURVE_HEIGHT),
        total_s=total_s,
        phases=[(name, seconds, 100 * seconds / (total_s or 1.0)) for name, seconds in report.phases_s.items()],
        links=[(text, to if _is_safe(to) else "", to) for text, to in report.links.items()],
    )


def _score_rows(records: Sequence[BenchmarkRecord]) -> list[_Row]:
    rows = []
    for metric in SHOWN_METRICS:
        known = [own.scores.get(metric) for own in records]
        first = next((score for score in known if score is not None), None)
        if first is None:
            continue
        cells = tuple(
            _Cell("n/a")
            if score is None
            else _Cell(f"{100 * score.value:.1f}", 100 * score.value, 100 * score.low, 100 * score.high)
            for score in known
        )
        best = max(range(len(cells)), key=lambda index: -1.0 if cells[index].value is None else cells[index].value or 0)
        task = records[0].tasks.get(metric.partition("/")[0])
        source = task.query_source if task and task.query_source != "purchases" else ""
        rows.append(_Row(metric, source, first.n, first.pool, cells, best))
    return rows


def _is_safe(address: str) -> bool:
    try:
        return urlsplit(address).scheme in _LINK_SCHEMES
    except ValueError:
        return False
