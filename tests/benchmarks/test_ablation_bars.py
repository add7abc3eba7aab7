"""The bars against arms far ahead, equal and far behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ablation import comparison
from benchmarks.ablation.arms import BASELINES
from benchmarks.ablation.bars import evaluate
from benchmarks.ablation.comparison import (
    IMAGE_10,
    LEAF_HIDDEN,
    LEAF_SHOWN,
    Judged,
    Outcomes,
    arm_of,
)
from tests.benchmarks.rows import BOTH, IMAGE, LUMA, TEXT, arm_rows, outcome, row

COLOUR, SIZE = "attribute.colour_title_hidden/accuracy", "attribute.size_title_hidden/accuracy"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts of arms this far apart need no ten thousand."""
    monkeypatch.setattr(comparison, "NUM_BOOTSTRAP", 500)


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
    tried = [row(name, kind="lr") for name in ("full", "dual")]
    assert {bar.verdict for bar in evaluate(LUMA, all_arms(0.9), tried)} == {"met"}
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
        wanted = [name for name in LUMA.arms if name != "minus_negatives"]
        bars = {bar.text: bar for bar in evaluate(LUMA, arms, [], wanted)}
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


def test_one_pair_of_trainings_settles_nothing() -> None:
    arms = all_arms(0.9)
    for name in ("full", "dual", "minus_crop"):
        arms[name] = arm_rows(name, arms[name].by_seed[1].outcomes, fold=0)
    bars = {bar.text: bar for bar in evaluate(LUMA, arms, [])}
    bar = bars["mean of the five falls without core crop (interval over 0)"]
    assert bar.verdict == "open"
    assert bar.numbers.endswith("one pair of trainings")


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
