"""Rendering a run's page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from catalog.fonts import CSS_FONTS
from validation.benchmark import BenchmarkRecord, main_score
from validation.report.charts import COLOURS, CURVE_HEIGHT, CURVE_WIDTH, LEFT, curves, level_chart
from validation.report.comparison import MOST_IDS, compare
from validation.report.dots import DotChart, difference_chart, slice_chart
from validation.report.gate_table import gate_rows
from validation.report.pictures import Album
from validation.report.run import RunReport
from validation.report.scores import COST_COLUMNS, cost_rows, score_groups, score_rows
from validation.report.slices import KINDS, Part, by_kind, caution, lost_parts, slice_parts, worst_part

MOST_SLICES = 200
MOST_NOTES = 100
MOST_LOST = 12
_LINK_SCHEMES = ("", "http", "https", "file")


@dataclass(frozen=True)
class Slices:
    """Everything about the parts."""

    charts: tuple[tuple[str, str, DotChart], ...]
    """Kind, what it means, chart."""
    worst: Part | None
    caution: str
    """To be read beside the worst."""
    listed: tuple[Part, ...]
    """Of every metric, the worst first."""
    num_more: int


def render_report(report: RunReport) -> str:
    """The page as one HTML document that loads nothing from anywhere.

    All texts are escaped: titles and queries come from shops and shoppers.

    Raises:
        ValueError: Records of different evaluation sets; their numbers do not belong side by side.
        BenchmarkError: Outcomes of candidate and champion do not belong to the same items.
    """
    report.check_one_set()
    records = list(report.records)
    compared = compare(report)
    album = Album(report.gallery, report.cores)
    total_s = sum(report.phases_s.values())
    environment = Environment(
        loader=PackageLoader("validation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pieces"] = _pieces
    return environment.get_template("page.html.j2").render(
        report=report,
        fonts=CSS_FONTS,
        decision=report.decision,
        records=records,
        colours=COLOURS,
        headline=score_rows(records, report.headline_metrics),
        main=[main_score(own) for own in records] if report.has_main_score else None,
        groups=score_groups(records),
        not_asked=_not_asked(report.candidate),
        costs=cost_rows(records),
        cost_columns=COST_COLUMNS,
        levels=level_chart(records),
        left=LEFT,
        slices=_slices(report),
        compared=compared,
        differences=difference_chart([row for row in compared if row.is_main]),
        lost_parts=_lost(report),
        most_lost=MOST_LOST,
        most_ids=MOST_IDS,
        most_notes=MOST_NOTES,
        gate=gate_rows(report.decision) if report.decision else [],
        sample=album.sample(),
        worst_of_all=album.worst_of_all(),
        worst=album.worst(),
        confusions=report.candidate.confusions if report.candidate else (),
        curves=curves(report.curves),
        curve_size=(CURVE_WIDTH, CURVE_HEIGHT),
        total_s=total_s,
        phases=[(name, seconds, 100 * seconds / (total_s or 1.0)) for name, seconds in report.phases_s.items()],
        links=[(text, to if is_safe_link(to) else "", to) for text, to in report.links.items()],
    )


def is_safe_link(address: str) -> bool:
    """Whether following it can only show a page: http, https, file or relative."""
    try:
        return urlsplit(address).scheme in _LINK_SCHEMES
    except ValueError:
        return False


def _pieces(key: str) -> list[str]:
    """A key cut where a reader would break it, not in the midst of a word."""
    return re.findall(r"[^_/.=\[]*[_/.=\[]|[^_/.=\[]+", key)


def headline_parts(report: RunReport) -> list[Part]:
    """Slices of the headline metrics."""
    if report.candidate is None:
        return []
    return slice_parts(report.candidate, report.champion_record, report.headline_metrics)


def _slices(report: RunReport) -> Slices | None:
    if report.candidate is None or not report.candidate.slices:
        return None
    parts = headline_parts(report)
    worst = worst_part(parts)
    charts = tuple((kind, KINDS.get(kind, ""), slice_chart(own, worst)) for kind, own in by_kind(parts))
    every = sorted(slice_parts(report.candidate), key=lambda part: (-part.shortfall, part.key))
    return Slices(
        charts, worst, caution(parts) if parts else "", tuple(every[:MOST_SLICES]), max(0, len(every) - MOST_SLICES)
    )


def _lost(report: RunReport) -> Sequence[Part]:
    return lost_parts(headline_parts(report))


def _not_asked(record: BenchmarkRecord | None) -> list[tuple[str, str]]:
    return sorted(record.not_applicable.items()) if record else []
