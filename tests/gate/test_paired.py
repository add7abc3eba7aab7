"""The power that a rule goes by, and what stands for a metric's items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from tests.gate.records import items, record, sliced
from validation.benchmark import Score
from validation.gate import GatePolicy, decide
from validation.gate.evidence import Scored, UnknownError
from validation.gate.paired import compare, compare_main, interval, outcomes_of
from validation.statistics import Outcome

R1 = "image_to_product/recall@1"
OLD = record("old")
NAMES = tuple(f"item-{row}" for row in range(100))


def compared(won: int, lost: int, drop: float = 0.1):
    """Against a champion with 50 hits: that many misses won, that many hits lost."""
    hits = [*range(lost, 50), *range(50, 50 + won)]
    own = record(image_to_product__recall_at_1=len(hits) / 100)
    ours, theirs = Scored(own, items(own, {R1: hits})), Scored(OLD, items(OLD), "champion")
    return compare(ours, theirs, R1, level=0.05, drop=drop)


def test_a_win_that_becomes_a_tie_raises_the_tests_power_but_never_the_rules() -> None:
    powers = [compared(won, lost=8) for won in (20, 14, 8)]
    assert powers[0].test.power < powers[-1].test.power, "else there were nothing to guard against"
    sure = [one.sure_power for one in powers]
    assert sure == sorted(sure, reverse=True)


def test_a_tie_that_becomes_a_loss_never_raises_the_power() -> None:
    sure = [compared(8, lost).sure_power for lost in range(0, 30, 3)]
    assert sure == sorted(sure, reverse=True)


def test_between_models_that_win_and_lose_alike_both_powers_are_about_one() -> None:
    one = compared(12, 12)
    assert one.sure_power == pytest.approx(one.test.power, abs=0.03)


def test_a_power_that_is_asked_is_told_as_the_rule_counts_it_whether_it_holds_or_not() -> None:
    for power, passes in ((0.2, True), (0.99, False)):
        policy = GatePolicy.model_validate(
            {"floors": {R1: 0.1}, "gain": "none", "champion": {R1: {"drop": 0.1, "power": power}}}
        )
        own = record()
        hits = {R1: [*range(8, 50), *range(50, 58)]}
        kept = {"outcomes": items(own, hits), "champion_outcomes": items(OLD)}
        decision = decide(policy, own, {}, OLD, **kept)
        (row,) = [rule for rule in decision.rules if rule.name == f"champion/{R1}"]
        assert row.passed is passes
        sure = compared(8, 8).sure_power
        assert row.reason.endswith(f"; counted from losses alone, power {sure:.2f} of {power:.2f} asked")
        assert row.power == compared(8, 8).test.power


def test_a_larger_loss_is_caught_more_often() -> None:
    sure = [compared(10, 10, drop).sure_power for drop in (0.02, 0.05, 0.1, 0.2)]
    assert sure == sorted(sure)
    assert sure[-1] > 0.9


def test_the_difference_is_the_records() -> None:
    test = compared(20, 5).test
    assert test.value == pytest.approx(0.15)
    assert interval(test, R1).startswith("+15.0 [+")
    assert interval(test, R1).endswith("] points")
    assert interval(test, "a/mean_rank").endswith("] ranks")


def test_a_macro_accuracy_is_made_of_the_attributes_with_the_title_hidden_alike() -> None:
    own = record()
    hidden, shown = (f"attribute.{name}/accuracy" for name in ("size_title_hidden", "size"))
    parts = {key: Outcome(NAMES, NAMES, np.ones(100)) for key in (hidden, shown)}
    zeros = Outcome(NAMES, NAMES, np.zeros(100))
    side = Scored(own, {"attribute.color_title_hidden/accuracy": zeros, **parts})
    with pytest.raises(UnknownError, match="damaged"):
        outcomes_of(side, "attributes_title_hidden/accuracy_macro")
    scores = dict(own.scores)
    score = scores["attributes_title_hidden/accuracy_macro"]
    scores["attributes_title_hidden/accuracy_macro"] = type(score)(0.5, 0.4, 0.6, 200, 120, 100)
    found = outcomes_of(
        Scored(type(own)(**{**own.__dict__, "scores": scores}), side.outcomes), "attributes_title_hidden/accuracy_macro"
    )
    assert [part.values.mean() for part in found] == [0.0, 1.0], "and not the one that sees the title"


def champion_row(rule: dict, hits: list[int], **policy: object):
    own = record(image_to_product__recall_at_1=len(hits) / 100)
    asked = GatePolicy.model_validate({"floors": {R1: 0.1}, "gain": "none", "champion": {R1: rule}} | policy)
    decision = decide(asked, own, {}, OLD, outcomes=items(own, {R1: hits}), champion_outcomes=items(OLD))
    return next(row for row in decision.rules if row.name == f"champion/{R1}")


@pytest.mark.parametrize(("won", "lost"), [(4, 10), (14, 5)])
def test_a_rule_goes_by_the_careful_power_and_not_by_the_tests(won: int, lost: int) -> None:
    hits = [*range(lost, 50), *range(50, 50 + won)]
    one = compared(won, lost)
    between = (one.sure_power + one.test.power) / 2
    assert abs(one.sure_power - one.test.power) > 0.05
    assert not one.test.shown_worse
    assert champion_row({"drop": 0.1, "power": between}, hits).passed is (one.sure_power > between)
    assert champion_row({"drop": 0.1, "power": one.sure_power}, hits).passed, "as much as asked is enough"


@pytest.mark.parametrize(("num_slices", "refused"), [(1, True), (12, False)])
def test_the_level_is_shared_out_among_the_slices_of_a_kind(num_slices: int, refused: bool) -> None:
    """Nine lost and two won of a hundred: p is 0.02, a loss by itself, and to be expected once among twelve slices."""
    hits = [*range(9, 50), 50, 51]
    own, old = record(image_to_product__recall_at_1=0.43), OLD
    for number in range(num_slices):
        name = {f"s{number:02d}": (0.43 if number == 0 else 0.5, 100)}
        own, old = sliced(own, R1, **name), sliced(old, R1, **{key: (0.5, n) for key, (_, n) in name.items()})
    policy = GatePolicy.model_validate(
        {"floors": {R1: 0.1}, "gain": "none", "slices": {"champion": {R1: {"category": {}}}}}
    )
    kept = items(own, {f"{R1}[category=s00]": hits, R1: hits})
    decision = decide(policy, own, {}, old, outcomes=kept, champion_outcomes=items(old))
    row = next(rule for rule in decision.rules if rule.name == f"slice_champion/{R1}[category]")
    assert row.known
    assert row.passed is not refused, row.reason
    assert "category=s00" in row.reason


def test_a_loss_of_ranks_is_a_share_of_the_champions() -> None:
    key = "image_to_product/mean_rank"
    old = replace(OLD, scores={**OLD.scores, key: Score(8.0, 7.0, 9.0, 100, 120, 100)})
    spread = np.where(np.arange(100) % 2, 7.0, 9.0)
    kept = {key: Outcome(NAMES, NAMES, spread)}
    policy = GatePolicy.model_validate({"floors": {R1: 0.1}, "gain": "none", "champion": {key: {"drop": 0.25}}})
    decision = decide(policy, old, {}, old, outcomes=kept, champion_outcomes=kept)
    row = next(rule for rule in decision.rules if rule.name == f"champion/{key}")
    assert "a true loss of 2.0 ranks would be shown" in row.reason


def test_the_main_score_weighs_its_metrics_alike_and_each_attribute_within_its_own() -> None:
    """Of two attributes the large one is won whole: half of the macro accuracy, which is a fifth of the main score."""
    few = tuple(f"few-{row}" for row in range(10))
    key = "attributes_title_hidden/accuracy_macro"

    def side(large: float, who: str) -> Scored:
        own = record()
        score = Score(large / 2, 0.0, 1.0, 110, 2, 110)
        parts = {
            "attribute.color_title_hidden/accuracy": Outcome(NAMES, NAMES, np.full(100, large)),
            "attribute.size_title_hidden/accuracy": Outcome(few, few, np.zeros(10)),
        }
        return Scored(replace(own, scores={**own.scores, key: score}), items(own) | parts, who)

    assert compare_main(side(1.0, ""), side(0.0, "old"), level=0.05).test.value == pytest.approx(0.5 / 5)


def test_where_hardly_anything_differs_a_set_has_hardly_any_power() -> None:
    """Four groups must differ before a loss is shown, and of a hundred two did: four or more come once in seven."""
    assert compared(1, 1, drop=0.02).sure_power < binom.sf(3, 100, 0.02)
