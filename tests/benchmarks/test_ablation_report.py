"""The report's arithmetic against examples computed by hand or by a plain loop, and its bars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest

from benchmarks.ablation.arms import BASELINES
from benchmarks.ablation.bars import evaluate, rivals_on
from benchmarks.ablation.comparison import (
    ATTRIBUTES_HIDDEN,
    ATTRIBUTES_SHOWN,
    IMAGE_10,
    LEAF_HIDDEN,
    LEAF_SHOWN,
    Judged,
    Outcomes,
    arm_of,
    difference,
    main_mean,
    paired_rows,
    score,
)
from benchmarks.ablation.figure import draw
from benchmarks.ablation.report import BEGIN, END, HEAD, read_section, render, write_page
from catalog import ConfigError
from tests.benchmarks.rows import BOTH, DEMO, IMAGE, LUMA, TEXT, arm_rows, outcome, row, store
from validation.benchmark import MAIN_METRICS, Outcome

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


def all_arms(better: float, num: int = 60):  # type: ignore[no-untyped-def]
    """Five folds of one arm against rivals that are right on a share of what it is right on."""
    rng = np.random.default_rng(3)

    def fold(share: float, seed: int) -> Outcomes:
        names = (IMAGE, IMAGE_10, TEXT, BOTH, LEAF_HIDDEN, LEAF_SHOWN, COLOUR, "attribute.colour/accuracy")
        return {
            name: outcome((rng.random(num) < share).astype(float), [f"{seed}.{i // 2}" for i in range(num)], f"{seed}-")
            for name in names
        }

    def arm(name: str, share: float, **fields: object):  # type: ignore[no-untyped-def]
        return arm_rows(name, *(fold(share, seed) for seed in LUMA.seeds), fold=0, **fields)

    arms = {name: arm(name, 0.5) for name in LUMA.arms}
    arms |= {one.name: arm(one.name, 0.3, kind="baseline") for one in BASELINES}
    arms["full"] = arm("full", better)
    return arms


def test_every_bar_is_met_by_a_model_far_ahead_and_none_of_quality_by_one_behind() -> None:
    assert {bar.verdict for bar in evaluate(LUMA, all_arms(0.9), [])} == {"met"}
    behind = {bar.text: bar.verdict for bar in evaluate(LUMA, all_arms(0.1), [])}
    quality = [text for text in behind if "above" in text or "below" in text or "falls" in text]
    assert len(quality) == 9
    assert {behind[text] for text in quality} == {"missed"}
    assert behind["every arm with 5 seeds, 5 folds"] == "met"


def test_equal_models_are_not_below_and_not_above() -> None:
    arms = all_arms(0.5)
    verdicts = {bar.text: bar.verdict for bar in evaluate(LUMA, arms, [])}
    assert {verdict for text, verdict in verdicts.items() if "not below" in text} == {"met"}
    assert {verdict for text, verdict in verdicts.items() if "above the dual encoder and" in text} == {"missed"}


def test_bars_without_rows_are_open_and_say_what_is_wanting() -> None:
    arms = all_arms(0.9)
    del arms["minus_crop"], arms["majority"]
    bars = {bar.text: bar for bar in evaluate(LUMA, arms, [])}
    assert bars["every arm with 5 seeds, 5 folds"].verdict == "open"
    assert "minus_crop" in bars["every arm with 5 seeds, 5 folds"].numbers
    assert bars["mean of the five falls without core crop"].verdict == "open"
    assert {bar.verdict for text, bar in bars.items() if "trivial baseline" in text} == {"open"}
    assert [bar.verdict for bar in evaluate(LUMA, {}, [])] == ["open", "open"]


def test_a_part_that_the_recipe_has_not_is_judged_by_putting_it_in() -> None:
    for better, verdict in ((0.4, "met"), (0.6, "missed")):
        arms = all_arms(better)
        arms["plus_hard_negatives"] = replace(arms.pop("minus_negatives"), name="plus_hard_negatives")
        bars = {bar.text: bar for bar in evaluate(LUMA, arms, [])}
        (told,) = [bar for text, bar in bars.items() if "rises with negatives, which the recipe has not" in text]
        assert told.verdict == verdict
        assert not [text for text in bars if "falls without negatives" in text]
        assert bars["every arm with 5 seeds, 5 folds"].verdict == "met"


def test_parameters_time_and_learning_rates_are_held_to_their_bars() -> None:
    arms = all_arms(0.9)
    arms["dual"] = arm_rows("dual", *[one.outcomes for one in arms["dual"].by_seed.values()], fold=0, trainable=1101)
    arms["minus_moe"] = arm_rows("minus_moe", arms["minus_moe"].by_seed[1].outcomes, fold=0, train_s=1300.0)
    rows = [row("full", kind="lr", lr_factor=2.0), row("full", kind="lr"), row("dual", kind="lr")]
    bars = evaluate(LUMA, arms, rows)
    missed = [bar.text for bar in bars if bar.verdict == "missed"]
    assert len(missed) == 3
    assert ["parameters" in missed[0], "learning rates" in missed[1], "20 min" in missed[2]] == [True] * 3


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
    assert "| minus_crop | 2 | +10.0 [" in gaps
    assert "| title_words | 2 | n/a |" in gaps
    assert "title_words, shown the title" in gaps
    assert "### Under former recipes" in text
    assert "11.1" in lines["configs/train_moon/demo.yaml, old"]


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


def test_no_rows_make_a_page_that_says_so(tmp_path: Path) -> None:
    assert read_section(tmp_path, DEMO) is None
    assert render([], None) == "No rows yet.\n"
    assert not draw([], tmp_path / "figure.png")


def test_the_figure_is_drawn_where_there_is_something_to_compare(tmp_path: Path) -> None:
    section = read_section(results(tmp_path), DEMO)
    assert section is not None
    assert draw([section], tmp_path / "images" / "figure.png")
    assert (tmp_path / "images" / "figure.png").read_bytes()[:4] == b"\x89PNG"


def test_an_arm_of_two_configurations_is_not_complete() -> None:
    arms = all_arms(0.9)
    other = Judged(
        row("full", 2, lr_factor=2.0, fold=0, finished_at="2026-01-02T00:00:00+00:00"), arms["full"].by_seed[2].outcomes
    )
    arms["full"] = arm_of("full", [*arms["full"].by_seed.values(), other])
    bar = evaluate(LUMA, arms, [])[0]
    assert bar.verdict == "open"
    assert bar.numbers == "full: seeds 1, 3, 4, 5 under another configuration than the latest"


def test_a_rival_may_be_fitted_anew_on_every_fold() -> None:
    rows = [row("dual", seed, changes={"model.late_hidden_size": (64, 60 + seed)}) for seed in (1, 2)]
    assert arm_of("dual", [Judged(one, {}) for one in rows]).odd_seeds == []
