"""Coordinates of dots against the numbers they stand for."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.runs import IMAGE, TEXT, outcome, record, score
from validation.report import RunReport
from validation.report.comparison import Compared, compare
from validation.report.dots import MOST_ROWS, DotChart, difference_chart, fitted, slice_chart
from validation.report.slices import by_kind, slice_parts, worst_part


def share_at(chart: DotChart, x: float) -> float:
    return (x - chart.ticks[0][0]) / (chart.ticks[-1][0] - chart.ticks[0][0])


def slices(values: dict[str, float], metric: str = IMAGE) -> dict[str, object]:
    return {f"{metric}[category={name}]": score(value) for name, value in values.items()}


def test_dots_lie_where_their_scores_are_the_lowest_first() -> None:
    own = record(slices=slices({"high": 0.8, "low": 0.2}))
    champion = record("champion", slices=slices({"high": 0.3, "low": 0.4}))
    parts = slice_parts(own, champion)
    ((_, by_metric),) = by_kind(parts)
    chart = slice_chart(by_metric, worst_part(parts))
    assert [dot.label for dot in chart.dots] == ["low", "high"]
    assert [share_at(chart, dot.x) for dot in chart.dots] == pytest.approx([0.2, 0.8])
    assert [share_at(chart, dot.low) for dot in chart.dots] == pytest.approx([0.1, 0.7])
    assert [share_at(chart, dot.high) for dot in chart.dots] == pytest.approx([0.3, 0.9])
    assert [share_at(chart, dot.other) for dot in chart.dots if dot.other] == pytest.approx([0.4, 0.3])
    assert [share_at(chart, x) for x, _, _ in chart.references] == pytest.approx([0.5])
    assert [dot.marked for dot in chart.dots] == [True, False]
    assert chart.dots[0].y < chart.dots[1].y < chart.bottom


def test_hundreds_of_slices_are_cut_but_never_the_worst_one() -> None:
    values = {f"c{number:03d}": number / 400 for number in range(300)}
    own = record(slices=slices(values) | {f"{IMAGE}[category=worst]": score(0.76, 0.001)}, scores={IMAGE: score(0.99)})
    parts = slice_parts(own)
    ((_, by_metric),) = by_kind(parts)
    worst = next(part for part in parts if part.name == "worst")
    chart = slice_chart(by_metric, worst)
    assert len(chart.dots) == MOST_ROWS
    assert [dot.label for dot in chart.dots if dot.marked] == ["worst"]
    assert chart.headings[-1][1] == f"and {301 - MOST_ROWS} more"


def test_rows_of_several_metrics_do_not_overlap() -> None:
    own = record(slices=slices({"a": 0.1, "b": 0.2}) | slices({"a": 0.3}, TEXT))
    ((_, by_metric),) = by_kind(slice_parts(own))
    chart = slice_chart(by_metric, None)
    places = sorted([dot.y for dot in chart.dots] + [y - 4 for y, _ in chart.headings])
    assert all(later - earlier >= 18 for earlier, later in itertools.pairwise(places))
    assert not any(dot.marked for dot in chart.dots)


def test_differences_lie_about_the_middle() -> None:
    ours = {IMAGE: outcome([0.0] * 40), TEXT: outcome([1.0, 0.0] * 20)}
    theirs = {IMAGE: outcome([1.0] * 40), TEXT: outcome([0.0, 1.0] * 20)}
    records = [record(), record("champion")]
    rows = compare(RunReport("x", records, champion="champion", outcomes=ours, champion_outcomes=theirs))
    chart = difference_chart(rows)
    assert chart is not None
    middle = chart.references[0][0]
    reach = float(chart.ticks[-1][1]) / 100
    scale = (chart.ticks[-1][0] - middle) / reach
    for dot, row in zip(chart.dots, rows, strict=True):
        assert row.test is not None
        places = [(x - middle) / scale for x in (dot.low, dot.x, dot.high)]
        assert places == pytest.approx([row.test.low, row.test.value, row.test.high])
    assert [dot.marked for dot in chart.dots] == [True, False]
    assert chart.ticks[2][1] == "+0"


def test_what_was_not_tested_has_no_dot() -> None:
    assert difference_chart([]) is None
    assert difference_chart([Compared(IMAGE, 0.5, 0.6, True)]) is None


@given(st.text(max_size=60), st.integers(2, 30))
def test_a_label_never_grows_beyond_its_columns(text: str, columns: int) -> None:
    own = fitted(text, columns)
    width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in own)
    assert width <= columns
    assert own == text or (own.endswith("…") and text.startswith(own[:-1]))
