"""What holds of every policy when records come with the values of single items: paired rules, slices, waivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.gate.records import record
from validation.benchmark import MAIN_METRICS, BenchmarkRecord, Score
from validation.gate import Decision, GatePolicy, decide
from validation.statistics import Outcome

R1, MRR, RANK = "image_to_product/recall@1", "image_to_product/mrr", "image_to_product/mean_rank"
COLOR, SIZE = "attribute.color_title_hidden/accuracy", "attribute.size_title_hidden/accuracy"
MACRO = "attributes_title_hidden/accuracy_macro"
HATS, BAGS = f"{R1}[category=Hats]", f"{R1}[category=Bags]"
SHARES = ("text_to_product/recall@10", "both_to_product/recall@1", "category_leaf_title_hidden/accuracy", R1, MRR)
KEYS = (*SHARES, RANK, COLOR, SIZE, HATS, BAGS)
TODAY = date(2027, 1, 15)
NUM_ITEMS, NUM_GROUPS = 24, 12

hits = st.integers(0, 1).map(float)
of_rank = st.integers(1, 12).map(float)
shares = st.integers(1, 12).map(lambda rank: 1.0 / rank)


def values_of(key: str) -> st.SearchStrategy[float]:
    return of_rank if key == RANK else shares if key == MRR else hits


@dataclass(frozen=True)
class Side:
    record: BenchmarkRecord
    outcomes: dict[str, Outcome]


def side(name: str, values: Mapping[str, np.ndarray]) -> Side:
    """A record made of its items: groups of several sizes, a macro accuracy that is the mean of two attributes."""
    outcomes = {}
    for key, own in values.items():
        groups = tuple(f"g{(row * row) % NUM_GROUPS}" if key != SIZE else f"g{row}" for row in range(len(own)))
        outcomes[key] = Outcome(tuple(f"i{row}" for row in range(len(own))), groups, own)
    scores = {key: Score(float(own.mean()), 0.0, 99.0, len(own), 120, NUM_GROUPS) for key, own in values.items()}
    macro = float(np.mean([scores[COLOR].value, scores[SIZE].value]))
    scores[MACRO] = Score(macro, 0.0, 1.0, scores[COLOR].n + scores[SIZE].n, 5, NUM_GROUPS)
    slices = {key: score for key, score in scores.items() if "[" in key}
    plain = {key: score for key, score in scores.items() if "[" not in key}
    base = record(name)
    return Side(replace(base, scores=plain, slices=slices, timings={"query_ms": 5.0}), outcomes)


@st.composite
def sides(draw: st.DrawFn, name: str, better: bool = False) -> Side:
    values = {}
    for key in KEYS:
        size = 10 if key in (SIZE, BAGS, HATS) else NUM_ITEMS
        own = np.array(draw(st.lists(values_of(key), min_size=size, max_size=size)))
        if better and draw(st.booleans()):
            own = np.minimum(own, 2.0) if key == RANK else np.maximum(own, 0.5 if key == MRR else 1.0)
        values[key] = own
    return side(name, values)


no_loss = st.fixed_dictionaries(
    {"level": st.sampled_from([0.05, 0.2, 0.4])},
    optional={"drop": st.sampled_from([0.05, 0.3, 0.6]), "power": st.sampled_from([0.1, 0.5, 0.8])},
)


sliced_floors = st.sampled_from([0.2, 0.8]).map(lambda bound: {"category": bound})


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    beaten = draw(st.lists(st.sampled_from([R1, MRR, RANK, MACRO]), min_size=1, max_size=2, unique=True))
    return {
        "floors": {MRR: draw(st.sampled_from([0.0, 0.3]))},
        "ceilings": {RANK: draw(st.sampled_from([4.0, 9.0, 12.0]))},
        "beat": {"random": {"metrics": beaten, "by": draw(st.sampled_from([0.0, 0.1])), "shown": draw(st.booleans())}}
        if draw(st.booleans())
        else {},
        "champion": draw(st.dictionaries(st.sampled_from([R1, MRR, RANK, MACRO]), no_loss, max_size=2)),
        "gain": draw(st.sampled_from(["any", "shown", "none"])),
        "level": draw(st.sampled_from([0.05, 0.3])),
        "slices": {
            "floors": draw(st.dictionaries(st.just(R1), sliced_floors, max_size=1)),
            "champion": draw(st.dictionaries(st.just(R1), st.fixed_dictionaries({"category": no_loss}), max_size=1)),
        },
        "limits": {"query_ms": 6},
    }


def judged(policy: GatePolicy, own: Side, rival: Side, champion: Side | None) -> Decision:
    return decide(
        policy,
        own.record,
        {"random": rival.record},
        champion.record if champion else None,
        outcomes=own.outcomes,
        rival_outcomes={"random": rival.outcomes},
        champion_outcomes=champion.outcomes if champion else None,
        today=TODAY,
    )


policies = contents().map(GatePolicy.model_validate)
worlds = st.tuples(sides("moon", better=True), sides("random"), st.none() | sides("old"))


def test_the_cases_drawn_here_both_pass_and_refuse() -> None:
    """Without this the implications below could hold for want of a single pass, or of a single rule that refuses."""
    seen, refusing = set(), set()

    @settings(database=None, derandomize=True, max_examples=120, deadline=None)
    @given(policies, worlds)
    def collect(policy, world) -> None:
        decision = judged(policy, *world)
        seen.add((decision.passed, world[2] is None))
        refusing.update(rule.name.partition("/")[0] for rule in decision.failures)

    collect()
    assert seen == {(True, True), (True, False), (False, True), (False, False)}
    assert {"ceiling", "beat", "champion", "slice_floor", "slice_champion"} <= refusing


@st.composite
def made_worse(draw: st.DrawFn, own: Side) -> Side:
    """Some items of one metric answered worse; the record is made of the items again."""
    key = draw(st.sampled_from(KEYS))
    values = {name: outcome.values.copy() for name, outcome in own.outcomes.items()}
    for row in draw(st.lists(st.integers(0, len(values[key]) - 1), min_size=1, max_size=4)):
        other = draw(values_of(key))
        values[key][row] = max(values[key][row], other) if key == RANK else min(values[key][row], other)
    return side("moon", values)


@settings(deadline=None)
@given(policies, worlds, st.data())
def test_worse_answers_never_turn_refuse_into_pass(policy, world, data) -> None:
    own, rival, champion = world
    worse = data.draw(made_worse(own))
    if judged(policy, worse, rival, champion).passed:
        assert judged(policy, own, rival, champion).passed


@settings(deadline=None)
@given(policies, worlds, st.data())
def test_no_single_rule_is_helped_by_worse_answers(policy, world, data) -> None:
    own, rival, champion = world
    worse = {rule.name: rule.passed for rule in judged(policy, data.draw(made_worse(own)), rival, champion).rules}
    for rule in judged(policy, own, rival, champion).rules:
        assert rule.passed or not worse[rule.name], rule


@settings(deadline=None)
@given(policies, worlds, st.sampled_from(KEYS))
def test_a_score_that_its_items_do_not_make_never_helps(policy, world, key) -> None:
    own, rival, champion = world
    where = "slices" if "[" in key else "scores"
    scores = getattr(own.record, where)
    other = replace(scores[key], value=12.0 if key == RANK else 0.0)
    worse = Side(replace(own.record, **{where: {**scores, key: other}}), own.outcomes)
    if judged(policy, worse, rival, champion).passed:
        assert judged(policy, own, rival, champion).passed


@settings(deadline=None)
@given(policies, worlds, st.sampled_from(["timings", "slices", "outcomes", "champion_outcomes"]))
def test_what_is_lost_never_helps(policy, world, lost) -> None:
    own, rival, champion = world
    assume(champion is not None)
    poorer = {
        "timings": (replace(own, record=replace(own.record, timings={})), champion),
        "slices": (replace(own, record=replace(own.record, slices={})), champion),
        "outcomes": (replace(own, outcomes={}), champion),
        "champion_outcomes": (own, replace(champion, outcomes={})),
    }[lost]
    if judged(policy, poorer[0], rival, poorer[1]).passed:
        assert judged(policy, own, rival, champion).passed


def shuffled(content: Any, random: Any) -> Any:
    if isinstance(content, dict):
        return {key: shuffled(content[key], random) for key in random.sample(list(content), len(content))}
    if isinstance(content, list | tuple):
        return random.sample(list(content), len(content))
    return content


@settings(deadline=None)
@given(contents(), worlds, st.randoms(use_true_random=False))
def test_the_order_of_rules_and_of_items_never_matters(content, world, random) -> None:
    own, rival, champion = world
    order = random.sample(range(NUM_ITEMS), NUM_ITEMS)

    def reordered(outcome: Outcome) -> Outcome:
        rows = [row for row in order if row < len(outcome.ids)]
        return Outcome(
            tuple(outcome.ids[row] for row in rows),
            tuple(outcome.groups[row] for row in rows),
            outcome.values[rows],
        )

    other = Side(own.record, {key: reordered(own.outcomes[key]) for key in shuffled(list(KEYS), random)})
    one = judged(GatePolicy.model_validate(content), own, rival, champion)
    two = judged(GatePolicy.model_validate(shuffled(content, random)), other, rival, champion)
    assert [(rule.name, rule.verdict) for rule in one.rules] == [(rule.name, rule.verdict) for rule in two.rules]


@settings(deadline=None)
@given(contents(), contents(), worlds)
def test_one_more_rule_never_turns_refuse_into_pass(content, more, world) -> None:
    key = "champion"
    stricter = {
        **content,
        key: {**more[key], **content[key]},
        "slices": content["slices"] | {"floors": more["slices"]["floors"] | content["slices"]["floors"]},
    }
    if judged(GatePolicy.model_validate(stricter), *world).passed:
        assert judged(GatePolicy.model_validate(content), *world).passed


@settings(deadline=None)
@given(contents(), worlds, st.data())
def test_a_waiver_changes_no_other_rule_and_hides_nothing(content, world, data) -> None:
    without = judged(GatePolicy.model_validate(content), *world)
    names = sorted(GatePolicy.model_validate(content).rule_names() - {"policy", "finite", "champion"})
    rule = data.draw(st.sampled_from(names))
    row = {"rule": rule, "name": "Ada", "reason": "new season", "expires": "2027-06-30"}
    waived = judged(GatePolicy.model_validate(content | {"waivers": [row]}), *world)
    assert [own for own in waived.rules if own.name != rule] == [own for own in without.rules if own.name != rule]
    for own, before in zip(waived.rules, without.rules, strict=True):
        assert own.passed is before.passed
        assert (own.waiver is not None) == (own.name == rule and not before.passed and before.known)
    if without.passed:
        assert waived.passed
        assert not waived.used_waivers


@settings(deadline=None)
@given(policies, sides("moon"), sides("random"))
def test_whoever_equals_the_champion_has_lost_nothing(policy, own, rival) -> None:
    old = Side(replace(own.record, encoder="old", encoder_digest="digest-of-old"), own.outcomes)
    decision = judged(policy.model_copy(update={"min_power": None}), own, rival, old)
    assert not [rule for rule in decision.failures if "a loss is shown" in rule.reason]


def test_the_main_score_of_these_records_is_made_of_all_main_metrics() -> None:
    own = side("moon", {key: np.ones(10) for key in KEYS})
    assert set(MAIN_METRICS) <= set(own.record.scores)
    assert judged(GatePolicy(floors={MRR: 0.1}), own, own, None).main_score == pytest.approx(1.0)
