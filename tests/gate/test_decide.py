"""The gate's truth table."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace

import pytest

from catalog import ConfigError
from tests.gate.records import items, record
from validation.benchmark import BenchmarkRecord, Score, main_score
from validation.gate import Decision, GatePolicy, decide

R1, T10, B1 = "image_to_product/recall@1", "text_to_product/recall@10", "both_to_product/recall@1"
LEAF = "category_leaf_title_hidden/accuracy"
FLOOR = {"floors": {R1: 0.4}}


@dataclass
class Case:
    name: str
    passed: bool
    policy: dict = field(default_factory=lambda: FLOOR)
    candidate: BenchmarkRecord = field(default_factory=record)
    rivals: dict[str, BenchmarkRecord] = field(default_factory=dict)
    champion: BenchmarkRecord | None = None
    champion_digest: str | None = None
    because: str = ""
    """A part of the reason of a rule that must have failed."""


def beat(metric: str = R1, by: float = 0.0, rival: str = "random") -> dict:
    return {"beat": {rival: {"metrics": [metric], "by": by}}}


def champion(value: float = 0.4, **more) -> BenchmarkRecord:
    return record("old", value, **more)


def no_scores(own: BenchmarkRecord) -> BenchmarkRecord:
    return replace(own, scores={})


def with_interval(own: BenchmarkRecord, low: float) -> BenchmarkRecord:
    return replace(own, scores={**own.scores, R1: Score(0.5, low, 0.6, 100, 120, 60)})


CASES = [
    # policy
    Case("a floor that holds", True),
    Case("empty policy", False, {}, because="would let anything pass"),
    Case("only required tasks", False, {"required_tasks": ["image_to_product"]}, because="would let anything pass"),
    Case("only min_n", False, {"min_n": {"image_to_product": 1}}, because="would let anything pass"),
    Case("only champion rules and no champion", False, {"champion": {R1: {}}}, because="would let anything pass"),
    Case(
        "only champion rules and a worse champion",
        False,
        {"champion": {R1: {}}},
        champion=champion(),
        because="would let anything pass",
    ),
    # required tasks
    Case("required task is there", True, FLOOR | {"required_tasks": ["image_to_product"]}),
    Case("required macro task is there", True, FLOOR | {"required_tasks": ["attributes_title_hidden"]}),
    Case("required task is absent", False, FLOOR | {"required_tasks": ["sound_to_product"]}, because="has no score"),
    Case(
        "required task is not applicable",
        False,
        FLOOR | {"required_tasks": ["text_to_product"]},
        record(text_to_product__recall_at_10=None, not_applicable={"text_to_product": "moon does not read text"}),
        because="moon does not read text",
    ),
    Case(
        "a prefix of a task is not the task",
        False,
        FLOOR | {"required_tasks": ["image"]},
        because="has no score",
    ),
    Case(
        "misspelt task gets the nearest name",
        False,
        FLOOR | {"required_tasks": ["image_to_produt"]},
        because="did you mean image_to_product",
    ),
    # floors
    Case("exactly at the floor", True, candidate=record(image_to_product__recall_at_1=0.4)),
    Case("just below the floor", False, candidate=record(image_to_product__recall_at_1=0.39999), because="below"),
    Case("one of two floors broken", False, {"floors": {R1: 0.4, T10: 0.6}}, because="10.0 points below"),
    Case(
        "floor of a metric that is missing", False, {"floors": {"image_to_product/recall@7": 0.1}}, because="no score"
    ),
    Case("floor 0 of a metric that is missing", False, {"floors": {"x/y": 0.0}}, because="no score"),
    Case("floor 0 and score 0", True, {"floors": {R1: 0.0}}, record(value=0.0)),
    Case("floor 1 and score 1", True, {"floors": {R1: 1.0}}, record(value=1.0)),
    # not a number
    Case("NaN in the judged metric", False, candidate=record(image_to_product__recall_at_1=math.nan), because="finite"),
    Case("NaN elsewhere", False, candidate=record(category_leaf__accuracy=math.nan), because="finite"),
    Case("infinite", False, candidate=record(category_leaf__accuracy=math.inf), because="finite"),
    Case("NaN in an interval", False, candidate=with_interval(record(), math.nan), because="finite"),
    Case("no score at all", False, candidate=no_scores(record()), because="no score at all"),
    # rivals
    Case("beats", True, beat(), rivals={"random": record("random", 0.1)}),
    Case("beats by enough", True, beat(by=0.4), rivals={"random": record("random", 0.1)}),
    Case("beats by too little", False, beat(by=0.41), rivals={"random": record("random", 0.1)}, because="less than"),
    Case("equals the rival", False, beat(), rivals={"random": record("random", 0.5)}, because="does not beat"),
    Case("loses to the rival", False, beat(), rivals={"random": record("random", 0.6)}, because="does not beat"),
    Case("rival was not run", False, beat(), because="was not scored"),
    Case("another rival was run", False, beat(), rivals={"majority": record(value=0.1)}, because="was not scored"),
    Case(
        "rival has no such metric",
        False,
        beat(),
        rivals={"random": record("random", 0.1, image_to_product__recall_at_1=None)},
        because="random: image_to_product/recall@1 has no score",
    ),
    Case(
        "rival is not applicable there",
        False,
        beat(),
        rivals={"random": record("r", 0.1, image_to_product__recall_at_1=None, not_applicable={R1: "blind"})},
        because="blind",
    ),
    Case(
        "candidate has no such metric",
        False,
        beat(),
        record(image_to_product__recall_at_1=None),
        {"random": record("random", 0.1)},
        because="has no score",
    ),
    Case(
        "rival is NaN",
        False,
        beat(),
        rivals={"random": record("random", 0.1, image_to_product__recall_at_1=math.nan)},
        because="one of the two is no number",
    ),
    Case(
        "rival on another set",
        False,
        beat(),
        rivals={"random": record("random", 0.1, eval_set="set-2")},
        because="score it again",
    ),
    Case(
        "rival by other code",
        False,
        beat(),
        rivals={"random": record("random", 0.1, harness="code-2")},
        because="another version",
    ),
    Case(
        "beats one rival of two",
        False,
        {"beat": {"a": {"metrics": [R1]}, "b": {"metrics": [R1]}}},
        rivals={"a": record("a", 0.1), "b": record("b", 0.9)},
        because="does not beat b",
    ),
    Case(
        "beats on one metric of two",
        False,
        {"beat": {"a": {"metrics": [R1, T10]}}},
        rivals={"a": record("a", 0.1, text_to_product__recall_at_10=0.9)},
        because="does not beat a",
    ),
    # champion
    Case("no champion yet", True),
    Case("better than the champion", True, champion=champion()),
    Case("better, and its digest is given", True, champion=champion(), champion_digest="digest-of-old"),
    Case("equal to the champion", False, champion=champion(0.5), because="a tie keeps the champion"),
    Case("worse than the champion", False, champion=champion(0.6), because="below the champion's"),
    Case("the champion itself", False, candidate=champion(0.5), champion=champion(0.5), because="a tie keeps"),
    Case("registered champion was not scored", False, champion_digest="digest-of-old", because="rescore the champion"),
    Case(
        "scores of another champion",
        False,
        champion=champion(),
        champion_digest="digest-of-older",
        because="rescore the champion",
    ),
    Case("champion on another set", False, champion=champion(eval_set="set-2"), because="rescore the champion"),
    Case("champion by other code", False, champion=champion(harness="code-2"), because="rescore the champion"),
    Case(
        "champion lacks a main metric",
        False,
        champion=champion(text_to_product__recall_at_10=None),
        because="nobody knows who is better",
    ),
    Case(
        "candidate lacks a main metric",
        False,
        candidate=record(text_to_product__recall_at_10=None),
        champion=champion(),
        because="nobody knows who is better",
    ),
    Case(
        "champion is NaN",
        False,
        champion=champion(text_to_product__recall_at_10=math.nan),
        because="nobody knows who is better",
    ),
    # enough samples
    Case("enough of a task", True, FLOOR | {"min_n": {"image_to_product": 100}}),
    Case("one short of a task", False, FLOOR | {"min_n": {"image_to_product": 101}}, because="too few"),
    Case("enough of a metric", True, FLOOR | {"min_n": {R1: 100}}),
    Case("one short of a metric", False, FLOOR | {"min_n": {R1: 101}}, because="too few"),
    Case("n of a task nobody asked", False, FLOOR | {"min_n": {"sound": 1}}, because="has no score"),
    Case(
        "n of the least of a task's metrics counts",
        False,
        FLOOR | {"min_n": {"image_to_product": 50}},
        replace(record(), scores={**record().scores, "image_to_product/mrr": Score(0.5, 0.4, 0.6, 3, 120, 3)}),
        because="too few",
    ),
    # all at once
    Case(
        "everything holds",
        True,
        {
            "required_tasks": ["image_to_product", "text_to_product"],
            "floors": {R1: 0.3, LEAF: 0.3},
            "beat": {"random": {"metrics": [R1, T10, B1], "by": 0.1}, "majority": {"metrics": [LEAF]}},
            "champion": {R1: {"drop": 0.02}},
            "min_n": {"image_to_product": 30, LEAF: 60},
        },
        rivals={"random": record("random", 0.05), "majority": record("majority", 0.2)},
        champion=champion(),
        champion_digest="digest-of-old",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_truth_table(case: Case) -> None:
    policy = GatePolicy.model_validate(case.policy)
    given = (policy, case.candidate, case.rivals, case.champion, case.champion_digest)
    paired = {"outcomes": items(case.candidate), "champion_outcomes": items(case.champion) if case.champion else None}
    decision = decide(*given, **paired) if policy.champion else decide(*given)
    assert decision.passed is case.passed, decision.as_text()
    assert decision.passed == (not decision.failures)
    if case.because:
        assert any(case.because in rule.reason for rule in decision.failures), decision.as_text()
    again = decide(*given, **paired) if policy.champion else decide(*given)
    assert again == decision, "a pure function"
    assert json.loads(decision.to_json())["passed"] is case.passed
    assert Decision.from_dict(json.loads(decision.to_json())) == decision


@pytest.mark.parametrize("change", [{"rules": None}, {"rules": [{"name": "x"}]}, {"surprise": 1}])
def test_a_damaged_decision_is_refused(change: dict[str, object]) -> None:
    stored = decide(GatePolicy.model_validate(FLOOR), record(), {}).to_dict()
    with pytest.raises(ConfigError, match="damaged"):
        Decision.from_dict({**stored, **change})


def test_the_tables_cases_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_each_rule_shows_its_number_bound_incumbent_and_reason() -> None:
    policy = GatePolicy.model_validate(FLOOR | beat(by=0.1) | {"champion": {R1: {}}, "min_n": {R1: 30}})
    old = champion()
    rivals = {"random": record("random", 0.1)}
    decision = decide(policy, record(), rivals, old, outcomes=items(record()), champion_outcomes=items(old))
    rules = {rule.name: rule for rule in decision.rules}
    assert [
        (rules[name].value, rules[name].bound, rules[name].incumbent) for name in (f"floor/{R1}", f"min_n/{R1}")
    ] == [
        (0.5, 0.4, None),
        (100, 30, None),
    ]
    lead, loss, main = rules[f"beat/random/{R1}"], rules[f"champion/{R1}"], rules["champion/gain"]
    assert (lead.value, lead.bound, lead.incumbent) == (0.5, pytest.approx(0.2), 0.1)
    assert (loss.value, loss.bound, loss.incumbent) == (0.5, None, 0.4)
    assert loss.low is not None
    assert loss.high is not None
    assert loss.low < 0.1 < loss.high, "the difference lies in its interval"
    assert loss.power is not None
    assert loss.smallest_drop is not None
    assert 0 < loss.smallest_drop < 0.1
    assert (main.value, main.incumbent) == (main_score(record()), main_score(champion()))
    assert decision.main_score == main_score(record())
    assert decision.champion_digest == "digest-of-old"
    assert all(rule.reason for rule in decision.rules)


def test_the_text_names_every_rule_and_begins_with_refusals() -> None:
    policy = GatePolicy.model_validate({"floors": {R1: 0.9, T10: 0.1}})
    text = decide(policy, record(), {}).as_text()
    assert text.startswith("REFUSE: 1 of 5 rules failed")
    assert text.index(f"floor/{R1}") < text.index(f"floor/{T10}")
    assert "40.0 points below the floor" in text
    assert decide(GatePolicy.model_validate(FLOOR), record(), {}).as_text().startswith("PASS: all 4 rules hold")


def test_a_policys_digest_follows_its_content() -> None:
    one, two = (GatePolicy.model_validate({"floors": {R1: bound}}) for bound in (0.1, 0.2))
    digests = [decide(policy, record(), {}).policy_digest for policy in (one, one, two)]
    assert digests[0] == digests[1] != digests[2]


def test_nothing_in_the_decision_is_nan() -> None:
    nowhere = record(value=math.nan)
    policy = GatePolicy.model_validate(FLOOR | beat() | {"champion": {R1: {}}})
    decision = decide(policy, nowhere, {"random": nowhere}, nowhere)
    assert not decision.passed
    assert "NaN" not in decision.to_json()
