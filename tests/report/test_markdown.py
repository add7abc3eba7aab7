"""The summary for a pull request."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from tests.report.odd import names, reports
from tests.report.runs import IMAGE, TEXT, decision, outcome, record, score
from validation.benchmark import Score
from validation.gate import RuleResult
from validation.report import RunReport, render_markdown

OK = RuleResult("floor/fine", True, "reaches the floor", 0.5, 0.4)
NO = RuleResult("floor/short", False, "is below the floor", 0.1, 0.4)


def cells(markdown: str, first: str) -> list[str]:
    """Of the table row that begins with `first`."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first} "))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def champion_report(**fields: object) -> RunReport:
    records = [record(), record("champion 3", scores={IMAGE: score(0.9), TEXT: score(0.5)})]
    known = {"title": "run", "records": records, "champion": "champion 3"}
    return RunReport(**(known | fields))  # type: ignore[arg-type]


def test_scores_stand_beside_the_champions_with_the_paired_interval() -> None:
    ours, theirs = outcome([0.0] * 20 + [1.0] * 20), outcome([1.0] * 36 + [0.0] * 4)
    text = render_markdown(champion_report(outcomes={IMAGE: ours}, champion_outcomes={IMAGE: theirs}))
    own = cells(text, f"`{IMAGE}`")
    assert own[1:3] == ["50.0 [40–60]", "90.0"]
    assert re.fullmatch(r"-40\.0 \[-\d\d\.\d, -\d\d\.\d\], worse", own[3])
    assert own[4:] == ["40", "100"]
    assert cells(text, f"`{TEXT}`")[1:4] == ["60.0 [50–70]", "50.0", "+10.0"]
    assert cells(text, "**main score**")[1:4] == ["**55.0**", "70.0", "-15.0"]


def test_without_a_champion_no_column_speaks_of_one() -> None:
    text = render_markdown(RunReport("run", [record()]))
    assert cells(text, "metric") == ["metric", "ours", "n", "pool"]
    assert "change" not in text


def test_rules_that_hold_are_left_out_and_those_that_do_not_are_named() -> None:
    text = render_markdown(RunReport("run", [record()], decision=decision(OK, NO)))
    assert "**REFUSE: 1 of 2 rules failed; first floor/short**" in text
    assert cells(text, "❌") == ["❌", "floor/short", "0.100", "0.400", "is below the floor"]
    assert "floor/fine" not in text
    passed = render_markdown(RunReport("run", [record()], decision=decision(OK)))
    assert "✅ **PASS: all 1 rules hold**" in passed
    assert "| rule |" not in passed


def test_the_worst_slice_is_named() -> None:
    slices = {f"{IMAGE}[category=a_b]": score(0.1, 0.05), f"{IMAGE}[category=c]": score(0.6)}
    text = render_markdown(RunReport("run", [record(slices=slices)]))
    assert f"Worst slice: **category = a\\_b** in `{IMAGE}`: 10.0 [5–15] of 40, 50.0 of all 40." in text
    near = render_markdown(RunReport("run", [record(slices={f"{IMAGE}[category=c]": score(0.45)})]))
    assert "it may be chance" in near


def test_a_slice_of_a_few_groups_is_never_called_the_worst() -> None:
    few = {f"{IMAGE}[category=few]": Score(0.0, 0.0, 0.0, 5, 100, 5)}
    text = render_markdown(RunReport("run", [record(slices=few)]))
    assert "No slice has 10 groups: none is called the worst." in text
    assert "few" not in text
    both = render_markdown(RunReport("run", [record(slices=few | {f"{IMAGE}[category=c]": score(0.1, 0.05)})]))
    assert "Picked as the worst of 1 slices, 1 of fewer than 10 groups aside" in both


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("https://example.org/a_b", "- [there](<https://example.org/a_b>)"),
        ("report.html", "- [there](<report.html>)"),
        ("javascript:alert(1)", r"- there: javascript:alert\(1\)"),
        ("https://x/> <b", r"- there: https\://x/\> \<b"),
    ],
)
def test_only_safe_addresses_become_links(address: str, line: str) -> None:
    assert line in render_markdown(RunReport("run", [], links={"there": address})).splitlines()


def test_the_largest_run_stays_below_sixty_lines() -> None:
    rules = [RuleResult(f"rule/{number}", False, "is " + "very " * 100 + "bad") for number in range(500)]
    metrics = {f"photo_label/accuracy{number}": score(0.5) for number in range(900)}
    text = render_markdown(
        champion_report(
            records=[record(scores=metrics | {IMAGE: score(0.5)}), record("champion 3")],
            decision=decision(*rules),
            links={str(number): "x.html" for number in range(99)},
        )
    )
    assert len(text.splitlines()) < 60
    assert "and 488 more rules" in text
    assert "- and 91 more" in text
    assert max(map(len, text.splitlines())) < 500


@given(reports())
@settings(max_examples=40, deadline=None)
def test_any_run_has_a_summary_whose_tables_hold_together(report: RunReport) -> None:
    text = render_markdown(report)
    assert len(text.splitlines()) < 60
    assert "nan" not in text.replace(report.title, "").lower().split()
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        widths = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


@given(names())
@settings(max_examples=60, deadline=None)
def test_no_name_becomes_markup(name: str) -> None:
    text = render_markdown(RunReport(name, [], links={name: "javascript:x"}))
    assert not re.search(r"(?<!\\)(?:\\\\)*[<`|\[]", text)
