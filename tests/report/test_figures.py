"""Figures for an experiment tracker: what they hold, read back from matplotlib."""

from __future__ import annotations

import io

import pytest

from tests.report.runs import IMAGE, TEXT, outcome, record, score
from validation.benchmark import Score
from validation.report import RunReport, figures
from validation.report.charts import COLOURS
from validation.report.figures import MOST_SLICES

LEVELS = {f"category_level_{level}_title_hidden/accuracy": score(0.2 * level) for level in (1, 2)}


def test_bars_of_levels_are_as_high_as_their_scores() -> None:
    axes = figures(RunReport("x", [record(scores=LEVELS), record("blind", scores={})]))["levels"].axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([20.0, 40.0])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["level 1", "level 2"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ours"]


def test_differences_have_their_interval_and_slices_their_dot() -> None:
    slices = {f"{IMAGE}[category={name}]": score(value) for name, value in (("$x_1$", 0.2), ("红色", 0.9))}
    records = [record(slices=slices), record("champion")]
    ours, theirs = {IMAGE: outcome([0.0] * 40)}, {IMAGE: outcome([1.0] * 40)}
    drawn = figures(RunReport("x", records, champion="champion", outcomes=ours, champion_outcomes=theirs))
    assert set(drawn) == {"slices", "differences"}
    assert drawn["differences"].axes[0].lines[1].get_xdata() == pytest.approx([-100.0])
    points = [line.get_xdata() for line in drawn["slices"].axes[0].lines if line.get_marker() == "o"]
    assert [own[0] for own in points] == pytest.approx([90.0, 20.0]), "the furthest behind stands at the top"


def test_figures_are_written_as_pictures_whatever_slices_are_called() -> None:
    slices = {f"{TEXT}[category={name}]": score(0.4) for name in ("$a_", "<b>", "\\frac{1}{", "x" * 400)}
    out = io.BytesIO()
    figures(RunReport("x", [record(slices=slices)]))["slices"].savefig(out, format="png")
    assert out.getvalue().startswith(b"\x89PNG")


def test_hundreds_of_slices_leave_the_worst() -> None:
    slices = {f"{IMAGE}[category={number:03d}]": score(number / 400, 0.0) for number in range(300)}
    axes = figures(RunReport("x", [record(slices=slices)]))["slices"].axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert len(labels) == MOST_SLICES
    assert "category=000" in labels[-1]


def test_no_slice_is_red_where_none_has_enough_groups() -> None:
    few = {f"{IMAGE}[category=few]": Score(0.0, 0.0, 0.0, 5, 100, 5)}
    axes = figures(RunReport("x", [record(slices=few)]))["slices"].axes[0]
    assert "none has 10 groups to be called the worst" in axes.get_xlabel()
    assert {line.get_color() for line in axes.lines} == {COLOURS[0], "black"}


def test_nothing_to_draw_is_no_figure() -> None:
    assert figures(RunReport("x", [])) == {}
    assert figures(RunReport("x", [record()])) == {}
