"""The sections of the page, each from small records with known numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings

from tests.report.odd import reports
from tests.report.runs import IMAGE, TEXT, confused, decision, outcome, record, score
from tests.report.test_page import Parsed, hit, row
from validation.benchmark import GalleryRow, Score
from validation.gate import RuleResult
from validation.gate.decision import UsedWaiver
from validation.report import RunReport, render_markdown, render_report
from validation.report.pictures import MOST_ROWS, Album

LABEL = "category_leaf/accuracy"


def page_of(report: RunReport) -> Parsed:
    return Parsed(render_report(report))


def flat(page: Parsed) -> str:
    return re.sub(r"\s+", " ", page.text)


def failed(task: str, rank: int, query_id: str = "q", pool: int = 100) -> GalleryRow:
    right = replace(hit("the right thing", right=True), score=0.125)
    return GalleryRow(task, query_id, "a text", None, rank, (hit("a wrong thing"),), right, pool, worst=True)


@given(reports())
@settings(max_examples=40, deadline=None)
def test_any_run_has_a_page_that_is_well_formed_and_runs_nothing(report: RunReport) -> None:
    html = render_report(report)
    page = Parsed(html)
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert all((attrs["src"] or "").startswith("data:") for attrs in page.all("img"))
    assert not {"nan", "nan%", "inf", "none%"} & set(page.text.lower().split())
    named = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(named)) == len(named)
    inside = {(attrs["href"] or "")[1:] for attrs in page.all("a") if (attrs["href"] or "").startswith("#")}
    assert inside - {""} <= set(named), "every tab leads somewhere"
    for tag, attrs in page.tags:
        if tag in ("line", "rect", "circle", "text", "svg"):
            numbers = [
                value
                for name, value in attrs.items()
                if name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height")
            ]
            assert all(re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", value or "") for value in numbers), attrs


def test_every_task_is_there_the_headline_first_and_n_and_pool_always() -> None:
    key = "image_to_product/mean_rank"
    scores = {"text_to_image/mrr": score(0.3), key: score(0.5), IMAGE: score(0.5), "category_leaf/f1_macro": score(0.2)}
    page = page_of(RunReport("x", [record(scores=scores)]))
    text = flat(page)
    places = [text.index(name) for name in (IMAGE, "main score", "Find a product", "Across modalities", "Label it")]
    assert places == sorted(places)
    assert all(metric in text for metric in scores)
    assert re.search(rf"{key} rank, lower is better ?40 ?100 0\.5 0–1 ", text)


def test_what_the_candidate_could_not_be_asked_is_told_with_the_reason() -> None:
    text = flat(page_of(RunReport("x", [record(not_applicable={"both_to_product": "no such query"})])))
    assert "What ours could not be asked (1)" in text
    assert "both_to_product: no such query" in text


def test_a_text_encoder_on_a_set_of_labels_alone_has_a_page() -> None:
    own = record(
        scores={"photo_label/accuracy": score(0.4)}, slices={"photo_label/accuracy[background=plain]": score(0.3)}
    )
    text = flat(page_of(RunReport("x", [own])))
    assert text.count("photo_label/accuracy") > 2
    assert "main score" not in text + render_markdown(RunReport("x", [own]))
    assert "Worst slice: background = plain" in text


def test_the_worst_slice_is_named_and_marked_once() -> None:
    slices = {f"{IMAGE}[category={name}]": score(value, 0.05) for name, value in (("a", 0.1), ("b", 0.8))}
    page = page_of(RunReport("x", [record(slices=slices)]))
    assert "▶ Worst slice: category = a in image_to_product/recall@1: 10.0 % [5–15] of 40, 50.0 % of all 40." in flat(
        page
    )
    assert [attrs["class"] for attrs in page.all("circle")] == ["ours bad", "ours"]


def test_the_page_says_that_the_worst_slice_was_picked_and_calls_none_of_few_groups_so() -> None:
    few = {f"{IMAGE}[category=few]": Score(0.0, 0.0, 0.0, 5, 100, 5)}
    page = flat(page_of(RunReport("x", [record(slices=few)], decision=decision())))
    assert "No slice has 10 groups: none is called the worst." in page
    assert "Worst slice" not in page
    many = few | {f"{IMAGE}[category=a]": score(0.1, 0.05)}
    page = flat(page_of(RunReport("x", [record(slices=many)], decision=decision())))
    told = "Picked as the worst of 1 slices, 1 of fewer than 10 groups aside: some lie that low by chance"
    assert page.count(told) == 2, "in the verdict and beside the slices"


def test_the_champions_section_counts_moves_and_says_where_it_lost() -> None:
    ours, theirs = outcome([0.0] * 20 + [1.0] * 20), outcome([1.0] * 36 + [0.0] * 4)
    slices = {f"{IMAGE}[category=shoes]": score(0.2)}
    report = RunReport(
        "x",
        [record(slices=slices), record("champion 3", slices={f"{IMAGE}[category=shoes]": score(0.9)})],
        champion="champion 3",
        outcomes={IMAGE: ours},
        champion_outcomes={IMAGE: theirs},
    )
    text = flat(page_of(report))
    assert "Against champion 3" in text
    assert re.search(r"✗ worse ?40 ?40 ?4 ?20", text), "items, groups, won, lost"
    assert "won 4: q36, q37, q38, q39" in text
    assert "lost 20: q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11 and 8 more" in text
    assert "Slices in which the champion is better (1)" in text
    assert "behind by" in text
    untested = flat(page_of(replace(report, outcomes=None)))
    assert "there is no paired test" in untested
    assert "Against" not in flat(page_of(replace(report, champion=None)))


def test_where_no_main_metric_is_common_it_is_said_and_no_empty_table_is_shown() -> None:
    own = record(scores={LABEL: score(0.5), IMAGE: score(0.5)})
    other = record("champion", scores={LABEL: score(0.4), TEXT: score(0.5)})
    results = {LABEL: outcome([1.0] * 8)}
    report = RunReport("x", [own, other], champion="champion", outcomes=results, champion_outcomes=results)
    page = render_report(report)
    section = page[page.index('<section id="champion">') :]
    section = section[: section.index("</section>")]
    assert "The two have no main metric in common." in section
    assert section.index("<details>") < section.index("<table")
    assert "won 0:" in section


def test_a_candidate_without_any_main_score_has_no_table_of_heads_alone() -> None:
    bare = RunReport("x", [record(scores={})])
    assert render_markdown(bare) == "## x\n\nNo score that counts for the main score.\n"
    assert "No score that counts for the main score." in flat(page_of(bare))


def test_refusals_come_first_in_the_gate() -> None:
    rules = (
        RuleResult("a", True, "fine"),
        RuleResult("b", False, "short", 12_000.0, 0.25),
        RuleResult("c", True, "fine"),
    )
    page = page_of(RunReport("x", [record()], decision=decision(*rules)))
    text = flat(page)
    assert text.index("✗ NO") < text.index("✓ ok")
    assert re.search(r"✗ NO ?b ?12,000 ?0\.250 ?–", text)


def test_siblings_stand_apart_from_other_confusions() -> None:
    page = page_of(RunReport("x", [record(confusions=(confused(),))]))
    text = flat(page)
    assert (
        "9 products: 4 right, 4 wrong, of them 3 (75 %) given a sibling of the right category, 1 without an answer"
        in text
    )
    assert re.search(r"Siblings: same parent.*A > B ?A > C ?3.*Further apart.*D ?A > C ?1", text)


def test_sizes_and_times_have_a_column_each() -> None:
    text = flat(page_of(RunReport("x", [record(num_parameters=1234567, timings={"query_ms": 2.5})])))
    assert re.search(r"ours ?8 ?1,234,567 ?– ?– ?2.5 ?– ?– ?–", text)


def test_hits_are_marked_by_words_and_signs_and_not_by_colour_alone() -> None:
    hits = [hit("a", right=True), replace(hit("b"), same_group=True), hit("c")]
    page = page_of(RunReport("x", [], gallery=[row("q", *hits)]))
    marks = [attrs["class"] for attrs in page.all("span") if (attrs.get("class") or "").startswith("mark")]
    assert marks == ["mark right", "mark group", "mark wrong"]
    assert re.search(r"✓ right 0\.500 a .*≈ variant 0\.500 b .*✗ wrong 0\.500 c", flat(page))


def test_the_right_product_stands_beside_hits_that_miss_it() -> None:
    text = flat(page_of(RunReport("x", [], gallery=[failed("text_to_product", 42)])))
    assert "right at rank 42 of 100" in text
    assert re.search(r"✗ wrong 0\.500 a wrong thing.*✓ at rank 42 0\.125 the right thing", text)


def test_the_worst_of_all_tasks_come_by_depth_and_each_query_once() -> None:
    rows = [failed("a", 50, "q1"), failed("a", 20, "q2"), failed("b", 9, "q1", pool=9), failed("b", 4, "q3", pool=9)]
    worst = Album(rows, {}).worst_of_all()
    assert worst is not None
    assert [(own.row.task, own.row.query_id) for own in worst.pictures] == [("b", "q1"), ("b", "q3"), ("a", "q2")]
    assert Album([row("q", hit("a"))], {}).worst_of_all() is None


def test_thousands_of_queries_are_cut_and_counted() -> None:
    rows = [replace(row("q", hit("a")), query_id=str(number)) for number in range(2_000)]
    page = page_of(RunReport("x", [], gallery=rows))
    assert f"and {2_000 - MOST_ROWS} more" in flat(page)
    assert sum("query-row" in (attrs.get("class") or "") for attrs in page.all("div")) == MOST_ROWS


def test_tabs_lead_to_their_task_and_say_how_many_were_right() -> None:
    rows = [replace(row("q", hit("a")), task=task, rank=rank) for task, rank in (("one", 1), ("one", 5), ("two <", 1))]
    page = page_of(RunReport("x", [], gallery=rows))
    assert "one 1/2two < 1/1" in flat(page)
    headings = [attrs["id"] for attrs in page.all("h3") if "id" in attrs]
    assert headings == ["gallery-1", "gallery-2"]
    assert [attrs["href"] for attrs in page.all("a") if "gallery-" in (attrs["href"] or "")] == [
        "#gallery-1",
        "#gallery-2",
    ]


@pytest.mark.parametrize("key", [IMAGE, TEXT, "", "//__[]", "category=a.b"])
def test_a_key_broken_for_reading_is_still_the_same_text(key: str) -> None:
    from validation.report.page import _pieces

    assert "".join(_pieces(key)) == key


def test_a_waived_rule_says_who_answers_for_it_why_and_until_when() -> None:
    waiver = UsedWaiver("Ada <ada>", "the shop closes anyway", "2027-06-30")
    rules = (
        RuleResult("fine", True, "reaches the floor"),
        RuleResult("waived", False, "falls short", waiver=waiver),
        RuleResult("lost", False, "is worse", 0.5, 0.6, 0.6, low=-0.2, high=-0.05, power=0.425, smallest_drop=0.061),
    )
    report = RunReport("x", [record()], decision=decision(*rules))
    text = flat(page_of(report))
    assert re.search(r"✗ NO ?lost.*≈ waived ?waived.*✓ ok ?fine", text), "refusals first, then what was waived"
    assert "waived by Ada <ada>, until 2027-06-30: the shop closes anyway" in text
    assert re.search(r"0\.500 ?0\.600 ?0\.600 ?-0\.200 to -0\.050 ?42 % ?0\.061", text)
    summary = render_markdown(report)
    assert "falls short; waived by Ada \\<ada\\>, until 2027-06-30: the shop closes anyway" in summary
    assert "reaches the floor" not in summary
