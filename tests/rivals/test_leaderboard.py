"""The board: order, what is n/a, what may share a table, and what is read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.rivals.conftest import config, eval_set, shop
from validation.benchmark import BenchmarkRecord, EvalSet, Score, TaskInfo, judge, main_score
from validation.config import BenchmarkConfig
from validation.errors import BenchmarkError
from validation.rivals import ColourHistogram, RandomVectors
from validation.rivals.against_first import against_first, paired
from validation.rivals.leaderboard import Entry, board_to_dict, rank_metrics, ranked
from validation.rivals.leaderboard_page import PAIRED, board_html, board_markdown

__all__ = ["config", "eval_set", "shop"]

IMAGE, TEXT = "image_to_product/recall@1", "text_to_product/recall@10"


def _judged(encoder, eval_set: EvalSet, config: BenchmarkConfig) -> tuple:
    record, outcomes = judge(encoder, eval_set, config)
    return record, "{}", outcomes


def entry(name: str, scores: Mapping[str, float], **more: object) -> Entry:
    tasks = {"image_to_product": TaskInfo(9, 9, ("image",), ()), "text_to_product": TaskInfo(9, 9, ("text",), ())}
    record = BenchmarkRecord(
        encoder=name,
        encoder_digest=f"digest of {name}",
        dims=8,
        eval_set_digest="set",
        dataset_digest="data",
        side="test",
        num_gallery=9,
        scores={key: Score(value, value / 2, min(1.0, value * 2), 9, 9, 9) for key, value in scores.items()},
        tasks=tasks,
        not_applicable={
            name: "cannot read it" for name in tasks if not any(key.startswith(f"{name}/") for key in scores)
        },
        harness_digest="code",
    )
    return Entry(name, replace(record, **more), "{}")  # type: ignore[arg-type]


def both(name: str, image: float, text: float) -> Entry:
    return entry(name, {IMAGE: image, TEXT: text})


def test_the_best_comes_first_and_the_encoder_that_cannot_answer_all_comes_last() -> None:
    board = [both("low", 0.1, 0.2), entry("blind", {TEXT: 1.0}), both("high", 0.9, 0.8), entry("deaf", {IMAGE: 0.1})]
    assert [one.model for one in ranked(board)] == ["high", "low", "blind", "deaf"]
    assert [one.model for one in ranked(board[::-1])] == ["high", "low", "blind", "deaf"]


def test_an_encoder_without_any_answer_stands_at_the_end_and_shows_no_zero() -> None:
    board = [entry("mute", {}), both("one", 0.5, 0.5)]
    assert [one.model for one in ranked(board)] == ["one", "mute"]
    row = next(line for line in board_markdown(board).splitlines() if line.startswith("| mute"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "n/a"
    assert cells[-2:] == ["n/a", "n/a"]
    assert not {"0", "0.0"} & set(cells)


def test_numbers_of_two_sets_or_two_harnesses_do_not_share_a_board() -> None:
    one = both("one", 0.5, 0.5)
    for change in ({"eval_set_digest": "another"}, {"harness_digest": "another"}):
        with pytest.raises(BenchmarkError, match="not asked the same"):
            ranked([one, entry("two", {IMAGE: 0.5}, **change)])


def test_an_entry_holds_only_for_the_same_encoder_set_harness_and_settings() -> None:
    one = both("one", 0.5, 0.5)
    asked = ("digest of one", "set", "code", "{}")
    assert one.answers(*asked)
    for place in range(4):
        assert not one.answers(*(text + "x" if index == place else text for index, text in enumerate(asked)))


def test_markdown_gives_cost_scores_and_reasons() -> None:
    sized = entry("a|b", {TEXT: 0.25}, num_parameters=1_500_000, model_bytes=3 << 20, timings={"product_ms": 1.234})
    text = board_markdown([sized, both("whole", 0.5, 0.5)])
    lines = text.splitlines()
    header = next(line for line in lines if line.startswith("| encoder"))
    assert f"{TEXT} (n 9, pool 9)" in header
    row = next(line for line in lines if line.startswith("| a"))
    for cell in ("a\\|b", "1.5 M", "3.0", "1.23", "25.0 [12-50]"):
        assert f" {cell} " in row
    assert "- a|b: cannot read it" in lines
    assert {line.count(" | ") for line in lines if line.startswith("| ")} == {header.count(" | ")}


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.rows += tag == "tr"
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_from_elsewhere_and_shows_names_as_they_are() -> None:
    page = board_html([both("<script>alert(1)</script>", 0.5, 0.5), entry("帽子", {TEXT: 0.2})], "Encoders on <shop>")
    parsed = _Cells()
    parsed.feed(page)
    assert parsed.rows == 3
    assert parsed.links == []
    assert not {"script", "img", "link"} & set(parsed.tags)
    assert "&lt;script&gt;" in page
    assert "帽子" in page


def test_labelled_photographs_alone_are_ranked_by_their_accuracy() -> None:
    board = [entry("a", {"photo_label/accuracy": 0.2}), entry("b", {"photo_label/accuracy": 0.7})]
    assert rank_metrics(board) == ("photo_label/accuracy",)
    assert [one.model for one in ranked(board)] == ["b", "a"]
    assert board_to_dict(board)["encoders"][0]["main"] == 0.7


def test_real_entries_survive_being_written_and_the_board_tells_the_main_score(
    eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    entries = []
    for encoder in (ColourHistogram(), RandomVectors()):
        record, outcomes = judge(encoder, eval_set, config)
        entries.append(Entry(encoder.name, record, config.model_dump_json(), outcomes))
    again = [Entry.from_json(one.to_json()) for one in entries]
    assert [one.record for one in again] == [one.record for one in entries]
    for before, after in zip(entries, again, strict=True):
        assert before.outcomes.keys() == after.outcomes.keys()
        for key, outcome in before.outcomes.items():
            assert after.outcomes[key].ids == outcome.ids
            assert after.outcomes[key].values == pytest.approx(outcome.values, abs=1e-6)
    board = json.loads(json.dumps(board_to_dict(again), allow_nan=False))
    assert [row["model"] for row in board["encoders"]] == ["random", "colour_histogram"]
    assert board["encoders"][0]["main"] == pytest.approx(main_score(entries[1].record))
    assert board["encoders"][1]["main"] is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1, "outcomes": {}}', "null"])
def test_a_damaged_entry_is_refused(text: str) -> None:
    with pytest.raises(BenchmarkError):
        Entry.from_json(text)


def test_the_first_is_compared_with_each_other_item_by_item(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    entries = [
        Entry(name, *_judged(encoder, eval_set, config))
        for name, encoder in (
            ("one", RandomVectors()),
            ("other", RandomVectors(dims=48, seed=5)),
            ("colour_histogram", ColourHistogram()),
        )
    ]
    header, rows = against_first(entries) or ([], [])
    assert header[0].removesuffix(", less") == ranked(entries)[0].model
    assert [row[0] for row in rows] == [own.model for own in ranked(entries)[1:]]
    metric = "attributes_title_hidden/accuracy_macro"
    one, other = ranked(entries)[:2]
    test = paired(one, other, metric)
    assert test is not None
    assert test.value == pytest.approx(one.record.scores[metric].value - other.record.scores[metric].value)
    assert test.n == one.record.scores[metric].n
    cell = rows[0][header.index(metric)]
    assert cell.startswith(f"{100 * test.value:+.1f} [{100 * test.low:+.1f}, {100 * test.high:+.1f}]")
    assert cell.endswith("*") == (test.low > 0 or test.high < 0)
    last = next(row for row in rows if row[0] == "colour_histogram")
    assert last[header.index(metric)] == "n/a"
    assert PAIRED in board_markdown(entries)


def test_a_board_of_one_has_no_pairs() -> None:
    assert against_first([entry("only", {IMAGE: 0.5})]) is None
