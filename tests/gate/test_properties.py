"""What holds of every policy and every record."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.gate.records import METRICS, record
from validation.benchmark import BenchmarkRecord
from validation.gate import GatePolicy, decide

RIVALS = ("random", "majority")
# Few distinct values, so that equality and exact margins come up often.
values = st.integers(0, 10).map(lambda tenth: tenth / 10)
bounds = st.integers(0, 4).map(lambda tenth: tenth / 10)
some_metrics = st.lists(st.sampled_from(METRICS), min_size=1, max_size=3, unique=True)


@st.composite
def policies(draw: st.DrawFn) -> GatePolicy:
    return GatePolicy.model_validate(
        {
            "required_tasks": [metric.partition("/")[0] for metric in draw(some_metrics)],
            "floors": draw(st.dictionaries(st.sampled_from(METRICS), bounds, max_size=3)),
            "beat": {
                name: {"metrics": draw(some_metrics), "by": draw(bounds)}
                for name in draw(st.lists(st.sampled_from(RIVALS), max_size=2, unique=True))
            },
            # Paired rules ask for items, which the records here lack: see test_paired_properties.
            "gain": draw(st.sampled_from(["any", "none"])),
            "min_n": draw(st.dictionaries(st.sampled_from(METRICS), st.integers(1, 120), max_size=2)),
        }
    )


@st.composite
def scored(draw: st.DrawFn, name: str = "moon", least: float = 0.0) -> BenchmarkRecord:
    own = record(name)
    chosen = {metric: replace(score, value=max(least, draw(values))) for metric, score in own.scores.items()}
    return replace(own, scores=chosen)


rival_sets = st.fixed_dictionaries({name: scored(name) for name in RIVALS})
champions = st.none() | scored("old")


def test_the_cases_drawn_here_both_pass_and_refuse() -> None:
    """Without this the implications below could hold for want of a single pass."""
    seen = set()

    @settings(database=None, derandomize=True)
    @given(policies(), scored(least=0.5), rival_sets, champions)
    def collect(policy, candidate, rivals, champion) -> None:
        seen.add((decide(policy, candidate, rivals, champion).passed, champion is None))

    collect()
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


@given(policies(), scored(least=0.5), rival_sets, champions, st.sampled_from(METRICS), values)
def test_a_worse_metric_never_turns_refuse_into_pass(policy, candidate, rivals, champion, metric, value) -> None:
    score = candidate.scores[metric]
    worse = replace(candidate, scores={**candidate.scores, metric: replace(score, value=min(value, score.value))})
    if decide(policy, worse, rivals, champion).passed:
        assert decide(policy, candidate, rivals, champion).passed


@given(policies(), scored(), rival_sets, champions, st.sampled_from(METRICS), st.sampled_from([math.nan, None]))
def test_a_metric_that_is_lost_or_no_number_never_helps(policy, candidate, rivals, champion, metric, lost) -> None:
    scores = dict(candidate.scores)
    if lost is None:
        del scores[metric]
    else:
        scores[metric] = replace(scores[metric], value=lost)
    if decide(policy, replace(candidate, scores=scores), rivals, champion).passed:
        assert decide(policy, candidate, rivals, champion).passed


@given(policies(), scored(), rival_sets, champions, st.randoms(use_true_random=False))
def test_the_order_of_rules_metrics_and_rivals_never_matters(policy, candidate, rivals, champion, random) -> None:
    def shuffled(mapping: dict) -> dict:
        return dict(random.sample(list(mapping.items()), len(mapping)))

    content = {key: shuffled(own) if isinstance(own, dict) else own for key, own in policy.model_dump().items()}
    content["required_tasks"] = random.sample(policy.required_tasks, len(policy.required_tasks))
    for rule in content["beat"].values():
        rule["metrics"] = random.sample(rule["metrics"], len(rule["metrics"]))
    other = decide(
        GatePolicy.model_validate(content),
        replace(candidate, scores=shuffled(candidate.scores)),
        shuffled(rivals),
        champion,
    )
    one = decide(policy, candidate, rivals, champion)
    assert (one.passed, one.rules) == (other.passed, other.rules)


@given(policies(), scored(), rival_sets, champions)
def test_one_more_rule_never_turns_refuse_into_pass(policy, candidate, rivals, champion) -> None:
    assume(policy.floors or policy.beat)
    stricter = policy.model_copy(update={"floors": {**policy.floors, "image_to_product/mrr": 0.9}})
    if decide(stricter, candidate, rivals, champion).passed and policy.floors.get("image_to_product/mrr", 0) <= 0.9:
        assert decide(policy, candidate, rivals, champion).passed


@given(policies(), scored(), rival_sets)
def test_nobody_replaces_itself(policy, candidate, rivals) -> None:
    assume(policy.gain == "any")
    assert not decide(policy, candidate, rivals, candidate, candidate.encoder_digest).passed


@given(policies(), scored(), rival_sets, scored("old"))
def test_whoever_passes_is_strictly_better_than_the_champion(policy, candidate, rivals, champion) -> None:
    assume(policy.gain == "any")
    decision = decide(policy, candidate, rivals, champion)
    if decision.passed:
        assert decision.main_score is not None
        assert decision.main_score > decision.champion_main_score
        assert not decide(policy, champion, rivals, candidate).passed
