"""The report's arithmetic against examples computed by hand or by a plain loop."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest

from benchmarks.ablation.bars import rivals_on
from benchmarks.ablation.comparison import (
    ATTRIBUTES_HIDDEN,
    ATTRIBUTES_SHOWN,
    LEAF_HIDDEN,
    LEAF_SHOWN,
    Judged,
    Outcomes,
    arm_of,
    by_pair,
    difference,
    main_mean,
    paired_rows,
    score,
)
from benchmarks.ablation.figure import draw
from benchmarks.ablation.hits import hits
from benchmarks.ablation.page import BEGIN, END, HEAD, told_of, write_page
from benchmarks.ablation.planning import recipe_setup
from benchmarks.ablation.protocol import PROJECT_ROOT
from benchmarks.ablation.report import read_section, render
from benchmarks.ablation.results import DEFAULT_RESULTS, Rows, write_json
from catalog import ConfigError
from tests.benchmarks.rows import BOTH, DEMO, IMAGE, TEXT, arm_rows, outcome, recipe, row, store
from validation.benchmark import MAIN_METRICS
from validation.statistics import Outcome

COLOUR, SIZE = "attribute.colour_title_hidden/accuracy", "attribute.size_title_hidden/accuracy"


def five(image=(1, 0), text=(1, 0), both=(1, 0), leaf=(1, 0), colour=(1, 0), size=(1, 0)) -> Outcomes:  # type: ignore[no-untyped-def]
    given = {IMAGE: image, TEXT: text, BOTH: both, LEAF_HIDDEN: leaf, COLOUR: colour, SIZE: size}
    return {name: outcome(values, [f"g{place}" for place in range(len(values))]) for name, values in given.items()}


def test_a_score_over_folds_is_the_mean_over_all_items() -> None:
    arm = arm_rows("full", {IMAGE: outcome([1, 1, 0])}, {IMAGE: outcome([0], name="p")})
    found = score(arm, IMAGE)
    assert found is not None
    assert (found.value, found.n, found.num_items) == (0.5, 4, 4)


def test_repeated_seeds_count_their_items_once_as_different_ones() -> None:
    arm = arm_rows("full", {IMAGE: outcome([1, 0])}, {IMAGE: outcome([1, 1])})
    found = score(arm, IMAGE)
    assert found is not None
    assert (found.value, found.n, found.num_items) == (0.75, 4, 2)


def test_attributes_are_pooled_each_over_the_folds_that_ask_them_then_averaged() -> None:
    arm = arm_rows("full", {COLOUR: outcome([1, 1]), SIZE: outcome([0])}, {COLOUR: outcome([0, 0], name="p")})
    found = score(arm, ATTRIBUTES_HIDDEN)
    assert found is not None
    assert found.value == pytest.approx((2 / 4 + 0) / 2)
    assert found.n == 5


def test_shown_and_hidden_attributes_are_kept_apart() -> None:
    arm = arm_rows("full", {COLOUR: outcome([0]), "attribute.colour/accuracy": outcome([1])})
    shown, hidden = score(arm, ATTRIBUTES_SHOWN), score(arm, ATTRIBUTES_HIDDEN)
    assert shown is not None
    assert hidden is not None
    assert (shown.value, hidden.value) == (1.0, 0.0)


def test_the_mean_of_five_weighs_metrics_alike_whatever_their_parts() -> None:
    arm = arm_rows("full", five(image=(1, 1), colour=(1, 1, 1), size=(0,)))
    assert main_mean(arm) == pytest.approx(fmean([1.0, 0.5, 0.5, 0.5, 0.5]))
    assert main_mean(arm_rows("frozen", {IMAGE: outcome([1])})) is None


def test_a_difference_by_hand() -> None:
    full = arm_rows("full", five(image=(1, 1), text=(1, 1, 0), colour=(1, 1, 1, 1), size=(1, 0)))
    rival = arm_rows("dual", five(image=(1, 0), text=(0, 0, 0), colour=(1, 0, 0, 0), size=(1, 1)))
    gap = difference(full, rival, [IMAGE])
    assert gap is not None
    assert (gap.value, gap.n) == (0.5, 2)
    gap = difference(full, rival, [ATTRIBUTES_HIDDEN])
    assert gap is not None
    assert gap.value == pytest.approx((0.75 - 0.5) / 2)
    gap = difference(full, rival, MAIN_METRICS)
    assert gap is not None
    assert gap.value == pytest.approx((0.5 + 2 / 3 + 0 + 0 + 0.125) / 5)
    reverse = difference(rival, full, MAIN_METRICS)
    assert reverse is not None
    assert reverse.value == pytest.approx(-gap.value)
    assert (reverse.low, reverse.high) == pytest.approx((-gap.high, -gap.low))


def test_the_interval_is_that_of_a_plain_bootstrap_over_groups() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{index // 3}" for index in range(60)]
    ours, theirs = [
        {
            name: outcome(rng.integers(0, 2, 60), groups)
            for name in (IMAGE, TEXT, BOTH, LEAF_HIDDEN, COLOUR, SIZE, "attribute.cut_title_hidden/accuracy")
        }
        for _ in range(2)
    ]
    gap = difference(arm_rows("full", ours), arm_rows("dual", theirs), MAIN_METRICS)
    assert gap is not None
    of_group = {name: np.flatnonzero(np.array(groups) == name) for name in sorted(set(groups))}
    draws = []
    for _ in range(3000):
        drawn = np.concatenate([of_group[name] for name in rng.choice(list(of_group), len(of_group))])
        by_metric = {name: (ours[name].values - theirs[name].values)[drawn].mean() for name in ours}
        attributes = fmean(value for name, value in by_metric.items() if name.startswith("attribute."))
        single = [value for name, value in by_metric.items() if not name.startswith("attribute.")]
        draws.append(fmean([*single, attributes]))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (gap.low, gap.high) == pytest.approx((low, high), abs=0.008)


def test_repeating_the_same_items_under_more_seeds_narrows_nothing() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = ({IMAGE: outcome(rng.integers(0, 2, 40))} for _ in range(2))
    once = difference(arm_rows("full", ours), arm_rows("dual", theirs), [IMAGE])
    thrice = difference(arm_rows("full", ours, ours, ours), arm_rows("dual", theirs, theirs, theirs), [IMAGE])
    assert once is not None
    assert thrice is not None
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))
    assert thrice.n == 3 * once.n


def test_only_seeds_that_both_have_are_paired() -> None:
    full = arm_rows("full", {IMAGE: outcome([1])}, {IMAGE: outcome([0])})
    late = arm_rows("dual", {IMAGE: outcome([0])}, first_seed=2)
    assert [(own.row.seed, other.row.seed) for own, other in paired_rows(full, late)] == [(2, 2)]
    gap = difference(full, late, [IMAGE])
    assert gap is not None
    assert (gap.value, gap.n) == (0.0, 1)


def test_a_baseline_without_seeds_stands_beside_every_seed_of_one_split_but_of_one_fold_alone() -> None:
    full = arm_rows("full", {IMAGE: outcome([1])}, {IMAGE: outcome([0])})
    once = arm_rows("title_words", {IMAGE: outcome([0])}, kind="baseline")
    assert len(paired_rows(full, once)) == 2
    folded = arm_rows("full", {IMAGE: outcome([1])}, {IMAGE: outcome([0])}, fold=0)
    assert len(paired_rows(folded, once)) == 1
    assert paired_rows(full, arm_rows("dual", {IMAGE: outcome([0])}, first_seed=9)) == []


def test_rows_of_other_questions_or_another_judge_are_not_paired() -> None:
    full = arm_rows("full", {IMAGE: outcome([1])})
    for field in ("eval_set_digest", "harness_digest"):
        assert difference(full, arm_rows("dual", {IMAGE: outcome([0])}, **{field: "x"}), [IMAGE]) is None


def test_words_are_compared_with_the_title_shown_to_them_alone() -> None:
    hidden, shown = outcome([1, 0]), outcome([1, 1])
    full = arm_rows("full", five(leaf=(1, 1)))
    words = arm_rows("title_words", {LEAF_HIDDEN: hidden, LEAF_SHOWN: shown}, kind="baseline")
    words_groups = {name: Outcome(one.ids, ("g0", "g1"), one.values) for name, one in words.by_seed[1].outcomes.items()}
    words = arm_rows("title_words", words_groups, kind="baseline")
    found = rivals_on(full, {"full": full, "title_words": words}, LEAF_HIDDEN)
    assert {name: gap.value for name, gap in found.items()} == {"title_words": 0.5, "title_words shown the title": 0.0}


def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    store(folder, row("full", recipe_digest="old", main_score=0.111), five())
    for seed, main in ((1, 0.4), (2, 0.6)):
        store(folder, row("full", seed, main_score=main), five(image=(1, 1)))
        store(folder, row("minus_crop", seed, commit="abcdef123456+"), five(image=(1, 0)))
    words = {name: one for name, one in five().items() if name != BOTH}
    store(folder, row("title_words", kind="baseline", main_score=None), words)
    return folder


def test_the_page_holds_scores_spread_differences_and_former_recipes(tmp_path: Path) -> None:
    section = read_section(results(tmp_path), DEMO)
    assert section is not None
    text = render([section], None)
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    scores = next(line for line in text.splitlines() if line.startswith("| full | 1, 2 |"))
    assert "100.0 (2 x 2)" in scores
    assert f"| {100 * stdev([0.4, 0.6]):.1f} |" in scores
    assert "| 60.0 |" in scores
    assert "abcdef12+" in text
    gaps = text[text.index("### Paired") :]
    # Image alone differs, by 50 points on one of five metrics.
    (crop,) = [line for line in gaps.splitlines() if line.startswith("| minus_crop | 2 |")]
    assert crop.split(" | ")[2].strip("*").startswith("+10.0 [")
    assert crop.split(" | ")[3] == "+10.0, +10.0"
    assert "| title_words | 2 | n/a |" in gaps
    assert "title_words, shown the title" in gaps
    assert "### Under other recipes" in text
    assert "11.1" in lines[f"{DEMO.recipe}, old"]


def test_a_recipe_under_trial_hides_nothing(tmp_path: Path) -> None:
    folder = results(tmp_path)
    store(folder, row("full", recipe="mine.yaml", recipe_digest="trial", main_score=0.7), five())
    section = read_section(folder, DEMO)
    assert section is not None
    assert set(section.arms) == {"full", "minus_crop", "title_words"}
    assert {one.recipe_digest for one in section.earlier} == {"old", "trial"}


def test_only_arms_that_change_the_recipe_are_asked_for(tmp_path: Path) -> None:
    folder = results(tmp_path)
    digest = read_section(folder, DEMO).arms["full"].rows[0].recipe_digest  # type: ignore[union-attr]
    setup = recipe_setup(recipe(), DEMO).plain()
    write_json(folder / "recipes" / f"{digest}.json", {"data": "demo", "setup": setup})
    section = read_section(folder, DEMO)
    assert section is not None
    own_already = {"minus_queue", "plus_hard_negatives", "plus_vision_residual", "plus_word_residual"}
    own_already |= {"balanced_pooling", "additive"}
    assert {"full", "plus_queue", "plain_pooling", "switch"} <= set(section.wanted)
    assert not own_already & set(section.wanted)


def test_each_pair_is_told_by_itself() -> None:
    ours = arm_rows("full", five(image=(1, 1)), five())
    theirs = arm_rows("dual", five(), five(leaf=(1, 1)))
    assert by_pair(ours, theirs) == pytest.approx([0.1, -0.1])
    gap = difference(ours, theirs, MAIN_METRICS)
    assert gap is not None
    assert (gap.num_pairs, gap.value) == (2, pytest.approx(0.0))


def test_the_page_claims_no_more_of_its_labels_than_is_so(tmp_path: Path) -> None:
    section = read_section(results(tmp_path), DEMO)
    assert section is not None
    text = render([section], None)
    # Training meets the label texts (`train.label_weight`), on other products: they are not new to the model.
    assert "zero-shot" not in f"{text} {HEAD}".lower()
    assert "without a classifier head: labels are texts, seen in training on other products" in text


def test_a_row_run_again_counts_and_not_the_one_before(tmp_path: Path) -> None:
    folder = results(tmp_path)
    store(folder, row("full", 1, config_digest="c2", main_score=0.9), five(image=(0, 0)))
    section = read_section(folder, DEMO)
    assert section is not None
    found = score(section.arms["full"], IMAGE)
    assert found is not None
    assert found.value == 0.5


def test_the_page_is_written_between_its_markers_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    write_page(page, "first\n")
    assert f"{BEGIN}\nfirst\n{END}\n" in page.read_text()
    page.write_text(f"mine above\n{BEGIN}\nold\n{END}\nmine below\n")
    write_page(page, "new\n")
    assert page.read_text() == f"mine above\n{BEGIN}\nnew\n{END}\nmine below\n"
    page.write_text("no markers")
    with pytest.raises(ConfigError, match="no place"):
        write_page(page, "new\n")
    assert page.read_text() == "no markers"


def test_the_page_in_docs_was_written_from_the_rows_beside_it() -> None:
    page = (PROJECT_ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8")
    told = told_of(PROJECT_ROOT / DEFAULT_RESULTS)
    assert told in page[page.find(BEGIN) : page.find(END)], "run: python -m benchmarks.ablation report"


def test_exact_and_group_hits_are_weighted_by_those_who_asked() -> None:
    scores = {
        1: {"image_to_product/recall@1": (0.5, 10), "image_to_product/recall_group@1": (0.6, 10)},
        2: {"image_to_product/recall@1": (0.2, 30), "image_to_product/recall_group@1": (0.4, 30)},
    }
    judged = [Judged(row("full", seed, scores=own), five()) for seed, own in scores.items()]
    head, rows = hits([arm_of("full", judged)])
    assert head[:3] == ["arm", "image R@1", "image R@10"]
    # 5 + 6 of 40 and 6 + 12 of 40; what was not asked is not zero.
    assert rows[0][1:3] == ["27.5 / 45.0 (40)", "n/a"]


def test_results_by_item_are_those_of_the_rows_and_no_others() -> None:
    folder = PROJECT_ROOT / DEFAULT_RESULTS
    named = [found.outcomes for path in folder.glob("*.jsonl") for found in Rows(path).read()]
    assert len(named) == len(set(named))
    assert {path.relative_to(folder).as_posix() for path in (folder / "outcomes").rglob("*.json")} == set(named)


def test_another_row_is_another_page(tmp_path: Path) -> None:
    before = told_of(results(tmp_path))
    with (tmp_path / "demo.jsonl").open("a") as stream:
        stream.write("\n")
    assert told_of(tmp_path) != before


def test_no_rows_make_a_page_that_says_so(tmp_path: Path) -> None:
    assert read_section(tmp_path, DEMO) is None
    assert render([], None) == "No rows yet.\n"
    assert not draw([], tmp_path / "figure.png")


def test_the_figure_is_drawn_where_there_is_something_to_compare(tmp_path: Path) -> None:
    section = read_section(results(tmp_path), DEMO)
    assert section is not None
    assert draw([section], tmp_path / "images" / "figure.png")
    assert (tmp_path / "images" / "figure.png").read_bytes()[:4] == b"\x89PNG"
