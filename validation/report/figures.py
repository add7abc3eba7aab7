"""The page's charts as figures for an experiment tracker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from catalog.fonts import draws_catalogue_text
from validation.report.charts import COLOURS, level_scores
from validation.report.comparison import Compared, compare
from validation.report.dots import METRIC_COLUMNS, fitted
from validation.report.page import headline_parts
from validation.report.run import RunReport
from validation.report.slices import MIN_GROUPS, Part, worst_part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SLICES = 24
"""Those furthest behind; the page has the others."""


def figures(report: RunReport) -> dict[str, Figure]:
    """File name without ending -> figure, of what the report has: levels, slices and differences to the champion.

    Raises:
        ValueError: Records of different evaluation sets.
        BenchmarkError: Outcomes of candidate and champion do not belong to the same items.
    """
    report.check_one_set()
    drawn: dict[str, Figure | None] = {
        "levels": _levels(report),
        "slices": _slices(headline_parts(report)),
        "differences": _differences(compare(report)),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


@draws_catalogue_text
def _levels(report: RunReport) -> Figure | None:
    levels = level_scores(report.records)
    drawn = [index for index in range(len(report.records)) if any(scores[index] for scores in levels.values())]
    if not drawn:
        return None
    figure, axes = _empty(8.0, 4.0)
    width = 0.8 / len(drawn)
    for place, index in enumerate(drawn):
        found = [(at, own) for at, scores in enumerate(levels.values()) if (own := scores[index])]
        axes.bar(
            [at + (place - (len(drawn) - 1) / 2) * width for at, _ in found],
            [100 * score.value for _, score in found],
            width,
            yerr=[
                [max(0.0, 100 * (score.value - score.low)) for _, score in found],
                [max(0.0, 100 * (score.high - score.value)) for _, score in found],
            ],
            color=COLOURS[index % len(COLOURS)],
            label=_plain(fitted(report.records[index].encoder, METRIC_COLUMNS)),
            error_kw={"elinewidth": 1.0},
        )
    axes.set_xticks(range(len(levels)), list(levels))
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy, %, title hidden")
    axes.legend(fontsize="small")
    return figure


@draws_catalogue_text
def _slices(parts: Sequence[Part]) -> Figure | None:
    if not parts:
        return None
    worst = worst_part(parts)
    listed = sorted(parts, key=lambda part: (part.shortfall, part.key))[-MOST_SLICES:]
    figure, axes = _empty(10.0, 1.2 + 0.3 * len(listed))
    for row, part in enumerate(listed):
        colour = COLOURS[5] if part == worst else COLOURS[0]
        axes.plot([100 * part.score.low, 100 * part.score.high], [row, row], color=colour)
        axes.plot(100 * part.score.value, row, "o", color=colour)
        axes.plot(100 * part.overall.value, row, "|", color="black", markersize=12)
    axes.set_yticks(range(len(listed)), [_plain(fitted(f"{part.key}, n {part.score.n}", 70)) for part in listed])
    axes.set_xlim(0, 100)
    red = "red: the worst, picked for being so" if worst else f"none has {MIN_GROUPS} groups to be called the worst"
    axes.set_xlabel(f"%; bar: score on all items; {red}")
    return figure


@draws_catalogue_text
def _differences(rows: Sequence[Compared]) -> Figure | None:
    tested = [(row, row.test) for row in rows if row.test is not None and row.is_main][::-1]
    if not tested:
        return None
    figure, axes = _empty(9.0, 1.4 + 0.35 * len(tested))
    for at, (_, test) in enumerate(tested):
        colour = COLOURS[5] if test.shown_worse else COLOURS[0]
        axes.plot([100 * test.low, 100 * test.high], [at, at], color=colour)
        axes.plot(100 * test.value, at, "o", color=colour)
    axes.axvline(0.0, color="black", linewidth=1)
    axes.set_yticks(range(len(tested)), [_plain(row.metric) for row, _ in tested])
    axes.set_xlabel("candidate less champion, points, with the paired interval; red: shown worse")
    return figure


def _empty(width: float, height: float) -> tuple[Figure, Axes]:
    # Not pyplot, which would keep every figure and choose a window for it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(axis="both", alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _plain(text: str) -> str:
    """Without what matplotlib takes for a formula."""
    return text.replace("$", r"\$")
