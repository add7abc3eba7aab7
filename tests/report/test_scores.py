"""Rows of the score and cost tables."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.report.runs import IMAGE, TEXT, record, score
from validation.benchmark import Score
from validation.report import scores as module
from validation.report.scores import COST_COLUMNS, OTHER, cost_rows, score_groups, score_rows


def test_tasks_are_grouped_by_what_is_asked_and_none_is_lost() -> None:
    asked = {
        "image_to_product_title_hidden/mrr": "Find a product",
        "product_to_product/map": "Find a product",
        "both_to_product_augmented/recall@1": "Find a product",
        "text_to_image/recall@10": "Across modalities",
        "image_to_text_title_hidden/ndcg@5": "Across modalities",
        "category_level_3/accuracy": "Label it",
        "attribute.text_to_image/accuracy": "Label it",
        "attributes/accuracy_macro": "Label it",
        "photo_label/accuracy": "Label it",
        "riddle/accuracy": OTHER,
    }
    groups = score_groups([record(scores={key: score(0.5) for key in asked})])
    found = {row.metric: group.name for group in groups for row in group.every}
    assert found == asked
    assert [group.name for group in groups] == ["Find a product", "Across modalities", "Label it", OTHER]


def test_a_group_without_scores_is_left_out_and_a_rival_alone_makes_a_row() -> None:
    groups = score_groups([record(scores={}), record("rival", scores={IMAGE: score(0.5)})])
    assert [group.name for group in groups] == ["Find a product"]
    assert [cell.text for cell in groups[0].every[0].cells] == ["n/a", "50.0"]


def test_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    (group,) = score_groups([record(scores={f"attribute.{number}/accuracy": score(0.5) for number in range(10)})])
    assert (len(group.every), group.num_more) == (3, 7)


def test_ranks_are_shown_as_ranks_and_the_lowest_is_the_best() -> None:
    key = "image_to_product/mean_rank"
    records = [record(scores={key: Score(value, value - 1, value + 2, 40, 100, 20)}) for value in (12.34, 3.5)]
    (row,) = score_rows(records, [key])
    assert row.is_rank
    assert row.best == (1,)
    assert [(cell.text, cell.interval, cell.bar) for cell in row.cells] == [
        ("12.3", "11–14", None),
        ("3.5", "2–6", None),
    ]


def test_equals_are_both_the_best_and_a_bar_is_as_long_as_its_score() -> None:
    (row,) = score_rows([record(), record("other"), record("less", scores={IMAGE: score(0.25)})], [IMAGE])
    assert row.best == (0, 1)
    assert row.cells[2].bar == pytest.approx((25.0, 15.0, 20.0))
    assert (row.n, row.pool) == (40, 100)


def test_a_missing_score_says_why_and_one_that_is_no_number_is_none() -> None:
    blind = record("blind", scores={TEXT: Score(math.nan, 0.0, 1.0, 4, 5, 2)}, not_applicable={IMAGE: "too few"})
    rows = score_rows([record(), blind], [IMAGE, TEXT])
    assert [(row.cells[1].text, row.cells[1].why) for row in rows] == [
        ("n/a", "too few"),
        ("n/a", "the score is not a finite number"),
    ]
    task = replace(blind, not_applicable={"image_to_product": "does not read image"})
    assert score_rows([record(), task], [IMAGE])[0].cells[1].why == "does not read image"


def test_costs_have_a_column_each_and_a_dash_where_nothing_is_told() -> None:
    told = record(
        num_parameters=12_345_678,
        model_bytes=3 << 20,
        peak_memory_mib=512.25,
        timings={"product_ms": 1.2345, "query_ms": 0.5, "label_ms": 120.4, "total_s": 3e-5},
    )
    first, second = cost_rows([told, record("silent", dims=0)])
    assert first.cells == ("8", "12,345,678", "3", "1.23", "0.5", "120", "<0.001", "512")
    assert second.cells == ("–",) * len(COST_COLUMNS)
