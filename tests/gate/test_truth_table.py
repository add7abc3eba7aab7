"""The gate's truth table, second part: what paired rules, slices, limits, a pinned set and waivers let through.

Each row says which rules must refuse, and no other may.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from tests.gate.records import items, record, sliced
from validation.benchmark import BenchmarkRecord, Score
from validation.gate import Decision, GatePolicy, decide
from validation.statistics import Outcome

R1, T10 = "image_to_product/recall@1", "text_to_product/recall@10"
MACRO, COLOR = "attributes_title_hidden/accuracy_macro", "attribute.color_title_hidden/accuracy"
RANK = "image_to_product/mean_rank"
FLOOR: dict[str, Any] = {"floors": {"image_to_product/mrr": 0.1}, "gain": "none"}
TODAY = date(2027, 1, 15)
KEEPS = FLOOR | {"champion": {R1: {"level": 0.05, "drop": 0.2}}}
POWER = FLOOR | {"champion": {R1: {"drop": 0.2, "power": 0.8}}}
HIGH, LOW = ({"floors": {R1: bound, "image_to_product/mrr": 0.1}} for bound in (0.9, 0.1))
EVERY = FLOOR | {"slices": {"floors": {R1: {"category": 0.3}}, "min_n": 20}}
KEPT_EVERYWHERE = FLOOR | {"slices": {"champion": {R1: {"category": {}}}, "min_n": 20}}


def waiver(rule: str, expires: str = "2027-06-30", **changed: str) -> dict[str, Any]:
    return {"waivers": [{"rule": rule, "name": "Ada", "reason": "new season", "expires": expires} | changed]}


def ranked(name: str = "moon", rank: float = 5.0, **more: Any) -> BenchmarkRecord:
    """With a mean rank; its items have it all."""
    own = record(name, **more)
    score = replace(own.scores[R1], value=rank, low=rank, high=rank)
    return replace(own, scores={**own.scores, RANK: score})


def costing(own: BenchmarkRecord, **timings: float) -> BenchmarkRecord:
    return replace(own, timings=timings)


def shops(name: str = "moon", hats: float = 0.5, bags: float = 0.5, n: int = 50, **more: Any) -> BenchmarkRecord:
    return sliced(record(name, **more), R1, Hats=(hats, n), Bags=(bags, 50))


@dataclass
class Row:
    name: str
    refuses: tuple[str, ...] = ()
    policy: dict[str, Any] = field(default_factory=lambda: FLOOR)
    candidate: BenchmarkRecord = field(default_factory=record)
    champion: BenchmarkRecord | None = None
    rivals: dict[str, BenchmarkRecord] = field(default_factory=dict)
    outcomes: dict[str, Outcome] | None = None
    """The candidate's; those that go with its record where not given."""
    champion_outcomes: dict[str, Outcome] | None = None
    rival_outcomes: dict[str, dict[str, Outcome]] | None = None
    today: date | None = TODAY
    because: str = ""
    waived: tuple[str, ...] = ()


def ranks(own: BenchmarkRecord, spread: float = 0.0) -> dict[str, Outcome]:
    names = tuple(f"item-{row}" for row in range(100))
    values = own.scores[RANK].value + spread * np.array([1.0, -1.0] * 50)
    return items(own) | {RANK: Outcome(names, names, values)}


OLD = record("old")
LOST = [*range(10, 60)]
"""Hits of a champion that has 50 as well: ten others."""

ROWS = [
    # ceilings
    Row("a mean rank below its ceiling", (), FLOOR | {"ceilings": {RANK: 6.0}}, ranked()),
    Row("exactly at the ceiling", (), FLOOR | {"ceilings": {RANK: 5.0}}, ranked()),
    Row("a mean rank above its ceiling", (f"ceiling/{RANK}",), FLOOR | {"ceilings": {RANK: 4.0}}, ranked(),
        because="1.0 ranks above"),
    Row("a ceiling on a metric that is missing", (f"ceiling/{RANK}",), FLOOR | {"ceilings": {RANK: 4.0}},
        because="has no score"),
    Row("a mean rank that is NaN", (f"ceiling/{RANK}", "finite"), FLOOR | {"ceilings": {RANK: 4.0}},
        ranked(rank=math.nan)),
    Row("a mean rank below 1", ("finite",), FLOOR | {"ceilings": {RANK: 4.0}}, ranked(rank=0.5),
        because="no value that such a metric can have"),
    Row("a recall above 1", ("finite",), candidate=record(image_to_product__recall_at_1=1.2),
        because="no value that such"),
    Row("a NaN in a slice that nobody asks for", ("finite",), candidate=shops(hats=math.nan)),
    # beat
    Row("fewer ranks than the rival", (), FLOOR | {"beat": {"r": {"metrics": [RANK]}}}, ranked(),
        rivals={"r": ranked("r", 6.0)}),
    Row("more ranks than the rival", (f"beat/r/{RANK}",), FLOOR | {"beat": {"r": {"metrics": [RANK]}}}, ranked(),
        rivals={"r": ranked("r", 4.0)}),
    Row("a tenth fewer ranks, a fifth asked", (f"beat/r/{RANK}",),
        FLOOR | {"beat": {"r": {"metrics": [RANK], "by": 0.2}}}, ranked(rank=9.0), rivals={"r": ranked("r", 10.0)},
        because="less than the 2.0 ranks asked"),
    Row("a lead that is shown", (), FLOOR | {"beat": {"r": {"metrics": [R1], "shown": True}}},
        rivals={"r": record("r", 0.3)}, rival_outcomes={"r": items(record("r", 0.3))}),
    Row("a lead that is not shown", (f"beat/r/{R1}",), FLOOR | {"beat": {"r": {"metrics": [R1], "shown": True}}},
        rivals={"r": record("r", 0.49)}, rival_outcomes={"r": items(record("r", 0.49))}, because="does not lie above"),
    Row("a lead that is shown, but not by so much", (f"beat/r/{R1}",),
        FLOOR | {"beat": {"r": {"metrics": [R1], "shown": True, "by": 0.18}}}, rivals={"r": record("r", 0.3)},
        rival_outcomes={"r": items(record("r", 0.3))}, because="does not lie above 18.0 points"),
    Row("a lead to be shown without the rival's items", (f"beat/r/{R1}",),
        FLOOR | {"beat": {"r": {"metrics": [R1], "shown": True}}}, rivals={"r": record("r", 0.3)},
        because="r: image_to_product/recall@1 has no values of single items"),
    Row("a rival with intervals of another confidence", (f"beat/r/{R1}",),
        FLOOR | {"beat": {"r": {"metrics": [R1]}}}, rivals={"r": replace(record("r", 0.3), confidence=0.9)},
        because="intervals of 90%"),
    # champion, in pairs
    Row("equal to the champion, nothing gained asked", (), KEEPS, champion=OLD),
    Row("equal to the champion, a gain asked", ("champion/gain",), KEEPS | {"gain": "any"}, champion=OLD,
        because="a tie keeps the champion"),
    Row("two hits fewer are no loss that is shown", (), KEEPS, record(image_to_product__recall_at_1=0.48),
        champion=OLD, because=""),
    Row("ten hits fewer are a loss that is shown", (f"champion/{R1}",), KEEPS,
        record(image_to_product__recall_at_1=0.40), champion=OLD, because="a loss is shown at level 0.05"),
    Row("ten lost and ten won is no loss", (), KEEPS, champion=OLD, outcomes=items(record(), {R1: LOST})),
    Row("better mean and one metric worse", (f"champion/{R1}",), KEEPS | {"gain": "any"},
        record(value=0.7, image_to_product__recall_at_1=0.3), champion=OLD),
    Row("fewer ranks than the champion", (), FLOOR | {"champion": {RANK: {}}}, ranked(), champion=ranked("old", 6.0),
        outcomes=ranks(ranked()), champion_outcomes=ranks(ranked("old", 6.0), 0.5)),
    Row("more ranks than the champion", (f"champion/{RANK}",), FLOOR | {"champion": {RANK: {}}}, ranked(rank=7.0),
        champion=ranked("old", 6.0), outcomes=ranks(ranked(rank=7.0)),
        champion_outcomes=ranks(ranked("old", 6.0), 0.5), because="a loss is shown"),
    Row("a macro accuracy is compared by its attributes", (f"champion/{MACRO}",), FLOOR | {"champion": {MACRO: {}}},
        record(attributes_title_hidden__accuracy_macro=0.3, attribute_color_title_hidden__accuracy=0.3), champion=OLD,
        because="a loss is shown"),
    Row("a macro accuracy that is not its attributes' mean", (f"champion/{MACRO}",), FLOOR | {"champion": {MACRO: {}}},
        record(attributes_title_hidden__accuracy_macro=0.6), champion=OLD, because="not those that its score"),
    Row("power enough", (), POWER, champion=OLD, outcomes=items(record(), {R1: [*range(5, 55)]})),
    Row("too little power", (f"champion/{R1}",), FLOOR | {"champion": {R1: {"drop": 0.05, "power": 0.8}}},
        champion=OLD, outcomes=items(record(), {R1: LOST}), because="might not show one"),
    Row("too little power for the whole policy", (f"champion/{R1}",),
        FLOOR | {"champion": {R1: {"drop": 0.05}}, "min_power": 0.8}, champion=OLD,
        outcomes=items(record(), {R1: LOST}), because="of 0.80 asked"),
    Row("a rule's own power stands before the policy's", (),
        FLOOR | {"champion": {R1: {"drop": 0.05, "power": 0.1}}, "min_power": 0.99}, champion=OLD,
        outcomes=items(record(), {R1: LOST})),
    Row("equal, and so few items that nothing could be shown", (f"champion/{R1}",), POWER, record(n=4),
        champion=record("old", n=4), because="and none with 0.80"),
    Row("no items of the candidate", (f"champion/{R1}",), KEEPS, champion=OLD, outcomes={},
        because="has no values of single items"),
    Row("no items of the champion", (f"champion/{R1}",), KEEPS, champion=OLD, champion_outcomes={},
        because="champion: image_to_product/recall@1 has no values of single items"),
    Row("items of another answer than the record's", (f"champion/{R1}",), KEEPS, champion=OLD,
        outcomes=items(record(value=0.6)), because="not those that its score was made of"),
    Row("items of other questions", (f"champion/{R1}",), KEEPS, champion=OLD,
        champion_outcomes={R1: replace(items(OLD)[R1], ids=tuple(f"other-{row}" for row in range(100)))},
        because="they were asked different items"),
    Row("items that are NaN", (f"champion/{R1}",), KEEPS, champion=OLD,
        outcomes={R1: replace(items(record())[R1], values=np.full(100, math.nan))}, because="are damaged"),
    Row("fewer items than the record says", (f"champion/{R1}",), KEEPS, champion=OLD,
        outcomes={R1: items(record(n=50))[R1]}, because="are damaged"),
    Row("a metric that the candidate lacks", (f"champion/{R1}",), KEEPS, record(image_to_product__recall_at_1=None),
        champion=OLD, because="has no score"),
    Row("a metric that the champion lacks", (f"champion/{R1}",), KEEPS,
        champion=record("old", image_to_product__recall_at_1=None), because="champion: image_to_product/recall@1"),
    Row("champion on another set", ("champion",), KEEPS, champion=record("old", eval_set="set-2"),
        because="rescore the champion"),
    Row("champion by other code", ("champion",), KEEPS, champion=record("old", harness="code-2"),
        because="rescore the champion"),
    Row("champion with another confidence", ("champion",), KEEPS, champion=replace(OLD, confidence=0.9),
        because="intervals of 90%"),
    Row("no champion, so nothing to lose against", (), KEEPS),
    Row("a gain that is shown", (), FLOOR | {"gain": "shown"}, record(value=0.7), champion=OLD),
    Row("a gain that is not shown", ("champion/gain",), FLOOR | {"gain": "shown"}, record(value=0.51), champion=OLD,
        because="which is not shown"),
    Row("a gain to be shown without items", ("champion/gain",), FLOOR | {"gain": "shown"}, record(value=0.7),
        champion=OLD, outcomes={}, because="no values of single items"),
    # slices
    Row("every slice keeps the floor", (), EVERY, shops()),
    Row("better mean and worse slice", (f"slice_floor/{R1}[category]",), EVERY, shops(value=0.9, hats=0.2),
        because="worst category=Hats (n 50): 10.0 points short"),
    Row("no slices of that kind", (f"slice_floor/{R1}[category]",), EVERY, because="no slices by category"),
    Row("one slice by its name", (), FLOOR | {"slices": {"floors": {R1: {"category=Bags": 0.5}}}}, shops(hats=0.0)),
    Row("one slice by a name nobody has", (f"slice_floor/{R1}[category=Bag]",),
        FLOOR | {"slices": {"floors": {R1: {"category=Bag": 0.5}}}}, shops(), because="has no slice category=Bag"),
    Row("a small slice refuses", (f"slice_floor/{R1}[category]",), EVERY, shops(n=19),
        because="category=Hats has 19 items of 20"),
    Row("a small slice is skipped where the policy says so", (),
        FLOOR | {"slices": EVERY["slices"] | {"small": "skip"}}, shops(n=19, hats=0.0)),
    Row("all slices are too small to be skipped", (f"slice_floor/{R1}[category]",),
        FLOOR | {"slices": EVERY["slices"] | {"small": "skip", "min_n": 99}}, shops(), because="every slice"),
    Row("a slice that only the rival has", (f"slice_floor/{R1}[category]",), EVERY,
        sliced(record(), R1, Bags=(0.5, 50)), rivals={"r": shops("r")}, because="[category=Hats] has no score"),
    Row("a floor in a slice that only the champion has", (f"slice_floor/{R1}[category]",), EVERY, shops(),
        champion=sliced(shops("old"), R1, Caps=(0.5, 50)), because="category=Caps"),
    Row("an interval that ends before it begins", ("finite",),
        candidate=sliced(replace(record(), scores=record().scores | {R1: Score(0.5, 0.6, 0.4, 100, 120, 60)}), R1)),
    Row("only slices are judged", (), {"slices": EVERY["slices"]}, shops()),
    Row("a policy with kinds of slices left empty", ("policy",), {"slices": {"floors": {R1: {}}}}, shops()),
    Row("no slice has lost", (), KEPT_EVERYWHERE, shops(), champion=shops("old")),
    Row("better mean and a slice that has lost", (f"slice_champion/{R1}[category]",), KEPT_EVERYWHERE,
        shops(value=0.9, hats=0.2), champion=shops("old"), because="worst category=Hats: a loss is shown"),
    Row("slices without items", (f"slice_champion/{R1}[category]",), KEPT_EVERYWHERE, shops(), champion=shops("old"),
        outcomes={}, because="no values of single items"),
    Row("a slice that only the champion has", (f"slice_champion/{R1}[category]",), KEPT_EVERYWHERE,
        sliced(record(), R1, Bags=(0.5, 50)), champion=shops("old"), because="[category=Hats] has no score"),
    # limits
    Row("fast enough", (), FLOOR | {"limits": {"query_ms": 5}}, costing(record(), query_ms=5.0)),
    Row("too slow", ("limit/query_ms",), FLOOR | {"limits": {"query_ms": 5}}, costing(record(), query_ms=5.1),
        because="more than the 5 allowed"),
    Row("speed was not measured", ("limit/product_ms",), FLOOR | {"limits": {"product_ms": 5}},
        because="was not measured"),
    Row("speed is NaN", ("limit/query_ms",), FLOOR | {"limits": {"query_ms": 5}}, costing(record(), query_ms=math.nan),
        because="was not measured"),
    Row("vectors short enough", (), FLOOR | {"limits": {"dims": 8}}),
    Row("vectors too long", ("limit/dims",), FLOOR | {"limits": {"dims": 7}}),
    Row("size was not measured", ("limit/num_parameters",), FLOOR | {"limits": {"num_parameters": 10}},
        because="was not measured"),
    Row("memory was not measured", ("limit/peak_memory_mib",), FLOOR | {"limits": {"peak_memory_mib": 10}},
        because="was not measured"),
    Row("too fast to be true", ("limit/query_ms",), FLOOR | {"limits": {"query_ms": 5}},
        costing(record(), query_ms=-1.0), because="was not measured"),
    Row("speed that is no number", ("limit/query_ms",), FLOOR | {"limits": {"query_ms": 5}},
        costing(record(), query_ms=math.nan), because="was not measured"),
    Row("a rival with a score that no recall can be", (f"beat/r/{R1}",), FLOOR | {"beat": {"r": {"metrics": [R1]}}},
        rivals={"r": record("r", image_to_product__recall_at_1=-3.0)}, because="cannot be -3"),
    Row("an endless number of items", ("finite",), candidate=shops(n=math.inf), outcomes={}),
    # the pinned set
    Row("the set the policy was written for", (), FLOOR | {"benchmark": {"digest": "set-1"}}),
    Row("another set", ("benchmark/digest",), FLOOR | {"benchmark": {"digest": "set-2"}}, because="another set"),
    Row("on its last day", (), FLOOR | {"benchmark": {"digest": "set-1", "expires": "2027-01-15"}}),
    Row("a day too old", ("benchmark/expiry",), FLOOR | {"benchmark": {"digest": "set-1", "expires": "2027-01-14"}},
        because="build a fresh one"),
    Row("a set that can expire, and no date", ("benchmark/expiry",),
        FLOOR | {"benchmark": {"digest": "set-1", "expires": "2027-06-30"}}, today=None, because="was not said"),
    # waivers
    Row("a waived floor", (), HIGH | waiver(f"floor/{R1}"), waived=(f"floor/{R1}",)),
    Row("a waiver that nobody needs", (), LOW | waiver(f"floor/{R1}")),
    Row("an expired waiver", (f"floor/{R1}",), HIGH | waiver(f"floor/{R1}", "2027-01-14"),
        because="the waiver of Ada expired on 2027-01-14"),
    Row("a waiver on its last day", (), HIGH | waiver(f"floor/{R1}", "2027-01-15"),
        waived=(f"floor/{R1}",)),
    Row("a waiver and no date", (f"floor/{R1}",), HIGH | waiver(f"floor/{R1}"), today=None,
        because="what day it is was not said"),
    Row("a waiver of one floor leaves the other", (f"floor/{T10}",),
        {"floors": {R1: 0.9, T10: 0.9}} | waiver(f"floor/{R1}"), waived=(f"floor/{R1}",)),
    Row("a waiver of a metric that is missing", (f"floor/{R1}",), LOW | waiver(f"floor/{R1}"),
        record(image_to_product__recall_at_1=None), because="never the want of one"),
    Row("a waiver of a NaN", ("finite",), LOW | waiver(f"floor/{R1}"),
        record(image_to_product__recall_at_1=math.nan), waived=(f"floor/{R1}",)),
    Row("a waiver of a loss that is shown", (), KEEPS | waiver(f"champion/{R1}"),
        record(image_to_product__recall_at_1=0.40), champion=OLD, waived=(f"champion/{R1}",)),
    Row("a waiver of a comparison without items", (f"champion/{R1}",), KEEPS | waiver(f"champion/{R1}"),
        champion=OLD, outcomes={}, because="never the want of one"),
    Row("a waiver of a rival that was not scored", (f"beat/r/{R1}",),
        FLOOR | {"beat": {"r": {"metrics": [R1]}}} | waiver(f"beat/r/{R1}"), because="never the want of one"),
    Row("a waived set that is too old", (),
        FLOOR | {"benchmark": {"digest": "set-1", "expires": "2027-01-01"}} | waiver("benchmark/expiry"),
        waived=("benchmark/expiry",)),
]  # fmt: skip


def decided(row: Row) -> Decision:
    own = items(row.candidate) if row.outcomes is None else row.outcomes
    theirs = row.champion_outcomes
    if theirs is None and row.champion is not None:
        theirs = items(row.champion)
    return decide(
        GatePolicy.model_validate(row.policy),
        row.candidate,
        row.rivals,
        row.champion,
        outcomes=own,
        rival_outcomes=row.rival_outcomes,
        champion_outcomes=theirs,
        today=row.today,
    )


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_truth_table(row: Row) -> None:
    decision = decided(row)
    assert tuple(rule.name for rule in decision.failures) == row.refuses, decision.as_text()
    assert decision.passed is (not row.refuses)
    assert tuple(rule.name for rule in decision.waived) == row.waived
    if row.because:
        assert any(row.because in rule.reason for rule in decision.failures), decision.as_text()
    assert Decision.from_dict(json.loads(decision.to_json())) == decision
    names = GatePolicy.model_validate(row.policy).rule_names()
    assert {rule.name for rule in decision.rules} <= names, "a waiver could not name a rule"


def test_the_table_is_large_and_its_rows_differ() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60
    assert {True, False} == {not row.refuses for row in ROWS}
