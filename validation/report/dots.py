"""Dots with their intervals, one a row, as coordinates of inline SVG: slices and paired differences."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from validation.benchmark import shown
from validation.report.comparison import Compared
from validation.report.slices import Part

LABEL_WIDTH, PLOT_WIDTH, TEXT_WIDTH, ROW_HEIGHT, AXIS_HEIGHT = 190.0, 290.0, 150.0, 22.0, 26.0
METRIC_WIDTH = 290.0
"""For the names of metrics, which are longer than those of slices."""
LABEL_COLUMNS = 24
METRIC_COLUMNS = 40
"""Columns of a terminal that a label may be wide; a Chinese character takes two."""
MOST_ROWS = 12
"""Rows of one metric; a shop with hundreds of categories has its worst shown."""


@dataclass(frozen=True)
class Dot:
    """One row."""

    y: float
    x: float
    low: float
    high: float
    label: str
    full: str
    """The label uncut, with the numbers: what the pointer is told."""
    text: str
    """Numbers at the right."""
    other: float | None = None
    """The champion's dot."""
    marked: bool = False


@dataclass(frozen=True)
class DotChart:
    """Rows below headings."""

    height: float
    dots: tuple[Dot, ...]
    headings: tuple[tuple[float, str], ...]
    """y, text."""
    references: tuple[tuple[float, float, float], ...]
    """x, y from, y to: the overall score, or no difference."""
    ticks: tuple[tuple[float, str], ...]
    """x, text."""
    left: float = LABEL_WIDTH
    """x where the plot begins; labels end before it."""

    @property
    def right(self) -> float:
        """x where the plot ends; numbers begin behind it."""
        return self.left + PLOT_WIDTH

    @property
    def width(self) -> float:
        return self.right + TEXT_WIDTH

    @property
    def bottom(self) -> float:
        """y of the axis."""
        return self.height - AXIS_HEIGHT


def slice_chart(by_metric: Mapping[str, Sequence[Part]], worst: Part | None) -> DotChart:
    """One kind's slices below each metric, shares from 0 to 1; `worst` is marked."""
    y, dots, headings, references = 0.0, [], [], []
    for metric, parts in by_metric.items():
        overall = parts[0].overall
        headings.append((y + 15, f"{metric}, all {overall.n}: {shown(metric, overall.value)}"))
        start = y = y + ROW_HEIGHT
        listed = parts[:MOST_ROWS]
        if worst is not None and worst in parts and worst not in listed:
            listed = [*parts[: MOST_ROWS - 1], worst]
        for part in listed:
            own = part.score
            text = f"{shown(metric, own.value, 0)} [{shown(metric, own.low, 0)}–{shown(metric, own.high, 0)}] n {own.n}"
            theirs = f", champion {shown(metric, part.champion.value)}" if part.champion else ""
            dots.append(
                Dot(
                    y=y + ROW_HEIGHT / 2,
                    x=_share(own.value),
                    low=_share(own.low),
                    high=_share(own.high),
                    label=fitted(part.name),
                    full=f"{part.kind} {part.name}: {text}{theirs}",
                    text=text,
                    other=_share(part.champion.value) if part.champion else None,
                    marked=part == worst,
                )
            )
            y += ROW_HEIGHT
        references.append((_share(overall.value), start, y))
        if len(parts) > len(listed):
            headings.append((y + 14, f"and {len(parts) - len(listed)} more"))
            y += ROW_HEIGHT
        y += 6
    ticks = tuple((_share(share), f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    return DotChart(y + AXIS_HEIGHT, tuple(dots), tuple(headings), tuple(references), ticks)


def difference_chart(rows: Sequence[Compared]) -> DotChart | None:
    """Candidate less champion with the paired interval; None where nothing was tested. Shares only, in points."""
    tested = [(row, row.test) for row in rows if row.test is not None and row.metric.rpartition("/")[2] != "mean_rank"]
    if not tested:
        return None
    reach = max(0.01, *(abs(end) for _, test in tested for end in (test.low, test.high, test.value)))
    reach = math.ceil(20 * reach - 1e-9) / 20

    def place(value: float) -> float:
        return METRIC_WIDTH + PLOT_WIDTH * (value + reach) / (2 * reach)

    dots = []
    for index, (row, test) in enumerate(tested):
        text = f"{100 * test.value:+.1f} [{100 * test.low:+.1f}, {100 * test.high:+.1f}]"
        dots.append(
            Dot(
                y=(index + 0.5) * ROW_HEIGHT,
                x=place(test.value),
                low=place(test.low),
                high=place(test.high),
                label=fitted(row.metric, METRIC_COLUMNS),
                full=f"{row.metric}: {text}, {row.verdict}",
                text=text,
                marked=test.shown_worse,
            )
        )
    height = len(tested) * ROW_HEIGHT
    ticks = tuple((place(share * reach), f"{100 * share * reach:+g}") for share in (-1.0, -0.5, 0.0, 0.5, 1.0))
    return DotChart(height + AXIS_HEIGHT, tuple(dots), (), ((place(0.0), 0.0, height),), ticks, METRIC_WIDTH)


def fitted(text: str, columns: int = LABEL_COLUMNS) -> str:
    """As much of `text` as is `columns` wide, since SVG neither wraps nor cuts."""
    width = 0
    for place, letter in enumerate(text):
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > columns:
            return text[: max(0, place - 1)] + "…"
    return text


def _share(value: float) -> float:
    return LABEL_WIDTH + PLOT_WIDTH * min(max(value, 0.0), 1.0)
