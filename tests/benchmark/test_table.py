"""The one number and the printed table."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.shop import Shop, stocked
from validation.benchmark import (
    MAIN_METRICS,
    BenchmarkRecord,
    EvalSet,
    build_eval_set,
    main_metrics,
    main_score,
    run_benchmark,
    score_table,
)
from validation.config import BenchmarkConfig
from validation.rivals import ColourHistogram, Constant, RandomVectors, judge_majority


@pytest.fixture(scope="module")
def records(eval_set: EvalSet, config: BenchmarkConfig) -> list[BenchmarkRecord]:
    encoders = (RandomVectors(), ColourHistogram(), Constant())
    return [*(run_benchmark(own, eval_set, config) for own in encoders), judge_majority(eval_set, config)[0]]


def test_main_score_is_the_mean_of_five(records: list[BenchmarkRecord]) -> None:
    random = records[0]
    assert main_metrics(random) == MAIN_METRICS
    assert main_score(random) == pytest.approx(sum(random.scores[metric].value for metric in MAIN_METRICS) / 5)


def test_main_score_of_who_cannot_do_a_part_is_not_a_number(records: list[BenchmarkRecord]) -> None:
    assert math.isnan(main_score(records[1]))
    assert math.isnan(main_score(records[3]))


def test_what_the_set_cannot_ask_is_left_out_for_all_alike(tmp_path: Path, config: BenchmarkConfig) -> None:
    shop = stocked(tmp_path, num_test=8)
    eval_set = build_eval_set(shop.catalog(), shop.splits(), config)
    for encoder in (RandomVectors(), ColourHistogram()):
        asked = main_metrics(run_benchmark(encoder, eval_set, config))
        assert asked == ("image_to_product/recall@1", "both_to_product/recall@1", "category_leaf_title_hidden/accuracy")


def test_nothing_asked_is_no_score(tmp_path: Path, config: BenchmarkConfig) -> None:
    shop = Shop(tmp_path)
    shop.product("alone")
    assert math.isnan(
        main_score(run_benchmark(Constant(), build_eval_set(shop.catalog(), shop.splits(), config), config))
    )


def test_the_table_shows_everyone_with_n_pool_interval_and_what_is_not_applicable(
    records: list[BenchmarkRecord],
) -> None:
    text = score_table(records)
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    for record in records:
        assert record.encoder in text
    own = records[0].scores["image_to_product/recall@1"]
    cells = [cell.strip() for cell in lines["image_to_product/recall@1"].split("│")[1:-1]]
    assert [*cells[1:3], cells[4]] == ["36", "36", f"{100 * own.value:.1f} [{100 * own.low:.0f}-{100 * own.high:.0f}]"]
    assert cells[-1] == "n/a"
    assert f"{100 * main_score(records[0]):.1f}" in lines["main score"]
    assert "36 products in the gallery" in text


def test_no_number_is_cut_short_however_many_encoders(records: list[BenchmarkRecord]) -> None:
    many = [replace(records[0], encoder=f"encoder_number_{n}") for n in range(9)]
    text = score_table(many, width=110)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 110
    heads = [line for line in text.splitlines() if "task / metric" in line]
    assert len(heads) > 1
    assert all("encoder_number_0" in head for head in heads), "the candidate stands beside every rival"
    for record in many[1:]:
        assert sum(record.encoder in head for head in heads) == 1
    own = records[0].scores["image_to_product/recall@1"]
    rows = [line for line in text.splitlines() if "image_to_product/recall@1 " in line]
    shown = [[cell.strip() for cell in line.split("│")[1:-1]] for line in rows]
    assert {tuple(cells[1:3]) for cells in shown} == {("36", "36")}
    expected = {f"{100 * own.value:.1f} [{100 * own.low:.0f}-{100 * own.high:.0f}]"}
    assert {cell for cells in shown for cell in cells[4:]} == expected
    assert sum(len(cells) - 4 for cells in shown) == len(many) + len(heads) - 1


def test_one_encoder_wider_than_the_terminal_is_shown_whole(records: list[BenchmarkRecord]) -> None:
    text = score_table([replace(records[0], encoder="x" * 200)])
    assert "x" * 200 in text
    assert "…" not in text


def test_invented_queries_are_named_in_the_table(tmp_path: Path, config: BenchmarkConfig) -> None:
    shop = stocked(tmp_path)
    shop.queries.clear()
    eval_set = build_eval_set(shop.catalog(), shop.splits(), config)
    text = score_table([run_benchmark(Constant(), eval_set, config)])
    for source in ("(other_photo)", "(description)", "(other_photo + description)"):
        assert source in text


def test_a_hostile_name_is_printed_and_not_obeyed(records: list[BenchmarkRecord]) -> None:
    assert "[red]" in score_table([replace(records[0], encoder="[red]mine")])


def test_scores_of_different_sets_share_no_table(records: list[BenchmarkRecord]) -> None:
    with pytest.raises(ValueError, match="different evaluation sets"):
        score_table([records[0], replace(records[1], eval_set_digest="other")])


def test_no_encoder_no_table() -> None:
    assert score_table([]) == "no encoder was scored\n"
