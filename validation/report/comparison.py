"""The candidate beside the champion, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from validation.benchmark import SHOWN_METRICS, BenchmarkRecord
from validation.benchmark.metrics import lower_is_better, parts_of
from validation.report.run import RunReport
from validation.report.scores import is_finite
from validation.statistics import Outcome, PairedTest, paired_test

MOST_IDS = 12
"""Items named that were won or lost."""


@dataclass(frozen=True)
class Compared:
    """One metric of both."""

    metric: str
    ours: float
    theirs: float
    is_main: bool
    test: PairedTest | None = None
    """None without every item's outcome under both, and for metrics that no item has by itself."""
    won: tuple[str, ...] = ()
    """Items that the candidate does better."""
    lost: tuple[str, ...] = ()

    @property
    def change(self) -> float:
        """Above 0 where the candidate is better, whatever the metric."""
        return self.theirs - self.ours if lower_is_better(self.metric) else self.ours - self.theirs

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.test is None:
            return "not tested"
        return "worse" if self.test.shown_worse else "better" if self.test.low > 0 else "no difference shown"


def compare(report: RunReport) -> list[Compared]:
    """The headline metrics, then the others that tables show, where both encoders have them.

    Raises:
        BenchmarkError: Outcomes of the two do not belong to the same items.
    """
    candidate, champion = report.candidate, report.champion_record
    if candidate is None or champion is None:
        return []
    headline = report.headline_metrics
    rows = []
    for metric in dict.fromkeys((*headline, *SHOWN_METRICS)):
        ours, theirs = candidate.scores.get(metric), champion.scores.get(metric)
        if ours is None or theirs is None or not (is_finite(ours) and is_finite(theirs)):
            continue
        test, won, lost = _tested(metric, candidate, report.outcomes, report.champion_outcomes)
        rows.append(Compared(metric, ours.value, theirs.value, metric in headline, test, won, lost))
    return rows


def _tested(
    metric: str,
    record: BenchmarkRecord,
    ours: Mapping[str, Outcome] | None,
    theirs: Mapping[str, Outcome] | None,
) -> tuple[PairedTest | None, tuple[str, ...], tuple[str, ...]]:
    keys = parts_of(metric, record.tasks)
    if not (ours and theirs and keys and all(key in ours and key in theirs for key in keys)):
        return None, (), ()
    own, other = [ours[key] for key in keys], [theirs[key] for key in keys]
    higher = not lower_is_better(metric)
    test = paired_test(own, other, higher_is_better=higher)
    won: list[str] = []
    lost: list[str] = []
    for one, two in zip(own, other, strict=True):
        place = {key: row for row, key in enumerate(two.ids)}
        gaps = one.values - two.values[[place[key] for key in one.ids]]
        gains = gaps if higher else -gaps
        won += [one.ids[row] for row in np.flatnonzero(gains > 1e-9).tolist()]
        lost += [one.ids[row] for row in np.flatnonzero(gains < -1e-9).tolist()]
    return test, tuple(won), tuple(lost)
