"""The candidate beside the champion."""

from __future__ import annotations

import pytest

from tests.report.runs import IMAGE, MACRO, TEXT, outcome, record, score
from validation.errors import BenchmarkError
from validation.report import RunReport
from validation.report.comparison import compare
from validation.statistics import Outcome, paired_test

OURS = [1.0] * 30 + [0.0] * 10
THEIRS = [0.0] * 4 + [1.0] * 36


def report(
    ours: dict[str, Outcome] | None = None, theirs: dict[str, Outcome] | None = None, **fields: object
) -> RunReport:
    champion = record("champion 3", scores={IMAGE: score(0.9), TEXT: score(0.6)})
    known = {"champion": "champion 3", "outcomes": ours, "champion_outcomes": theirs, "records": [record(), champion]}
    return RunReport(title="x", **(known | fields))  # type: ignore[arg-type]


def test_moves_are_counted_item_by_item_whatever_the_order() -> None:
    theirs = outcome(THEIRS)
    shuffled = Outcome(theirs.ids[::-1], theirs.groups[::-1], theirs.values[::-1])
    row = next(row for row in compare(report({IMAGE: outcome(OURS)}, {IMAGE: shuffled})) if row.metric == IMAGE)
    assert row.won == tuple(f"q{number}" for number in range(4))
    assert row.lost == tuple(f"q{number}" for number in range(30, 40))
    assert row.test == paired_test(outcome(OURS), theirs)
    assert row.change == pytest.approx(0.5 - 0.9)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([0.0] * 40, [1.0] * 40, "worse"),
        ([1.0] * 40, [0.0] * 40, "better"),
        ([1.0, 0.0] * 20, [1.0, 0.0] * 20, "no difference shown"),
    ],
)
def test_the_verdict_is_the_intervals(ours: list[float], theirs: list[float], verdict: str) -> None:
    (row, _) = compare(report({IMAGE: outcome(ours)}, {IMAGE: outcome(theirs)}))
    assert row.verdict == verdict


def test_without_outcomes_there_is_a_difference_and_no_test() -> None:
    for own in (report(), report({}, {}), report({IMAGE: outcome(OURS)}, None), report({IMAGE: outcome(OURS)}, {})):
        assert [(row.metric, row.test, row.verdict) for row in compare(own)] == [
            (IMAGE, None, "not tested"),
            (TEXT, None, "not tested"),
        ]


@pytest.mark.parametrize(
    "fields", [{"champion": None}, {"champion": "nobody"}, {"records": []}, {"records": [record("champion 3")]}]
)
def test_without_a_champion_there_is_nothing_to_compare(fields: dict[str, object]) -> None:
    assert compare(report(**fields)) == []


def test_the_macro_mean_is_compared_attribute_by_attribute() -> None:
    keys = ("attribute.color_title_hidden/accuracy", "attribute.size_title_hidden/accuracy")
    ours = {key: outcome(OURS, f"{number}-") for number, key in enumerate(keys)}
    theirs = {key: outcome(THEIRS, f"{number}-") for number, key in enumerate(keys)}
    seen = {"attribute.color/accuracy": outcome([0.0] * 3)}
    records = [record(name, scores={MACRO: score(0.5)}) for name in ("ours", "champion 3")]
    (row,) = compare(report({**ours, **seen}, {**theirs, **seen}, records=records))
    assert row.test == paired_test(list(ours.values()), list(theirs.values()))
    assert (len(row.won), len(row.lost)) == (8, 20)


def test_headline_metrics_come_first_and_are_marked() -> None:
    extra = {"image_to_product/recall@10": score(0.9), **{key: score(0.5) for key in (TEXT, IMAGE)}}
    rows = compare(report(records=[record(scores=extra), record("champion 3", scores=extra)]))
    assert [(row.metric, row.is_main) for row in rows] == [
        (IMAGE, True),
        (TEXT, True),
        ("image_to_product/recall@10", False),
    ]


def test_outcomes_of_other_items_are_an_error_and_no_page() -> None:
    with pytest.raises(BenchmarkError, match="different items"):
        compare(report({IMAGE: outcome(OURS)}, {IMAGE: outcome(THEIRS, "other")}))
