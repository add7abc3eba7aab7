"""Parts of the items, and the worst of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.runs import IMAGE, TEXT, record, score
from validation.benchmark import Score
from validation.report.slices import KINDS, MIN_GROUPS, by_kind, caution, lost_parts, slice_parts, worst_part


def test_a_slice_is_told_from_its_metric_whatever_brackets_names_have() -> None:
    odd = "attribute.a[b=c]/accuracy"
    own = record(
        scores={odd: score(0.5), IMAGE: score(0.5)},
        slices={
            f"{odd}[category=x[y=1]/z]": score(0.1),
            f"{IMAGE}[photos=one]": score(0.2),
            "nothing[a=b]": score(0.3),
        },
    )
    assert [(part.metric, part.kind, part.name) for part in slice_parts(own)] == [
        (odd, "category", "x[y=1]/z"),
        (IMAGE, "photos", "one"),
    ]
    assert [part.key for part in slice_parts(own)] == list(own.slices)[:2]
    assert [part.metric for part in slice_parts(own, metrics=[IMAGE])] == [IMAGE]


def test_the_worst_slice_is_the_one_that_chance_explains_least() -> None:
    own = record(
        slices={
            f"{IMAGE}[category=two items]": score(0.0, 0.9, n=2),
            f"{IMAGE}[category=many]": score(0.3, 0.05, n=500),
            f"{IMAGE}[category=fine]": score(0.7, 0.05),
        }
    )
    worst = worst_part(slice_parts(own))
    assert worst is not None
    assert worst.name == "many"
    assert worst.shortfall == pytest.approx(0.5 - 0.35)
    assert worst_part([]) is None


def test_groups_and_not_items_decide_whether_a_slice_may_be_called_the_worst() -> None:
    certain = Score(0.0, 0.0, 0.0, 500, 100, MIN_GROUPS - 1)
    own = slice_parts(record(slices={f"{IMAGE}[category=one article]": certain}))
    assert worst_part(own) is None
    assert caution(own) == "No slice has 10 groups: none is called the worst."
    enough = replace(certain, num_groups=MIN_GROUPS)
    own = slice_parts(record(slices={f"{IMAGE}[category=one article]": certain, f"{IMAGE}[category=b]": enough}))
    worst = worst_part(own)
    assert worst is not None
    assert worst.name == "b"
    assert caution(own).startswith("Picked as the worst of 1 slices, 1 of fewer than 10 groups aside: ")


def test_where_ranks_are_cut_into_slices_a_high_rank_is_bad() -> None:
    key = "image_to_product/mean_rank"
    own = record(
        scores={key: score(0.5)}, slices={f"{key}[photos=one]": score(0.9, 0.1), f"{key}[photos=two]": score(0.1)}
    )
    worst = worst_part(slice_parts(own))
    assert worst is not None
    assert worst.name == "one"
    (_, by_metric), *_ = by_kind(slice_parts(own))
    assert [part.name for part in by_metric[key]] == ["one", "two"]


def test_slices_lost_to_the_champion_come_largest_loss_first() -> None:
    slices = {f"{IMAGE}[category={name}]": score(value) for name, value in (("a", 0.4), ("b", 0.4), ("c", 0.4))}
    theirs = {f"{IMAGE}[category={name}]": score(value) for name, value in (("a", 0.5), ("b", 0.9), ("c", 0.4))}
    parts = slice_parts(record(slices=slices), record("champion", slices=theirs))
    assert [part.name for part in lost_parts(parts)] == ["b", "a"]
    assert [part.loss for part in lost_parts(parts)] == pytest.approx([0.5, 0.1])
    assert lost_parts(slice_parts(record(slices=slices))) == []


def test_a_lower_rank_is_no_loss() -> None:
    key = "image_to_product/mean_rank"
    own = record(scores={key: score(0.5)}, slices={f"{key}[photos=one]": score(0.2), f"{key}[photos=two]": score(0.9)})
    theirs = record("champion", slices={f"{key}[photos={name}]": score(0.5) for name in ("one", "two")})
    assert [part.name for part in lost_parts(slice_parts(own, theirs))] == ["two"]


def test_kinds_keep_their_order_and_unknown_ones_come_last() -> None:
    names = ["zebra", *reversed(KINDS)]
    own = record(slices={f"{metric}[{kind}=x]": score(0.5) for kind in names for metric in (IMAGE, TEXT)})
    found = list(by_kind(slice_parts(own)))
    assert [kind for kind, _ in found] == [*KINDS, "zebra"]
    assert all(list(by_metric) == [IMAGE, TEXT] for _, by_metric in found)
