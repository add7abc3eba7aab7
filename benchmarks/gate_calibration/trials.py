"""Many pairs judged: how often each rule alarms, catches and covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from benchmarks.gate_calibration.rules import RULES, Sample
from benchmarks.gate_calibration.worlds import World
from validation.statistics import Outcome, paired_test


@dataclass(frozen=True)
class Trial:
    """What the gate's own rule did on pairs of one world."""

    pairs: int
    alarms: int
    """Pairs called a regression."""
    power: float
    """Mean of the printed powers."""
    covered: int
    """Pairs whose interval holds the true difference."""

    def expected(self, share: float) -> tuple[int, int]:
        """Binomial 95 % interval of as many trials, each with this chance."""
        low, high = binom.interval(0.95, self.pairs, share)
        return int(low), int(high)


def judge_pairs(world: World, *, pairs: int, drop: float, true_drop: float, level: float, seed: int) -> Trial:
    """Draw pairs and give each to `validation.statistics.paired_test`, as the gate does."""
    ours, theirs = world.draw(pairs, true_drop, np.random.default_rng(seed))
    groups = tuple(str(number) for number, size in enumerate(world.sizes) for _ in range(size))
    ids = tuple(str(number) for number in range(len(groups)))
    tests = [
        paired_test(Outcome(ids, groups, own), Outcome(ids, groups, other), level=level, drop=drop)
        for own, other in zip(ours, theirs, strict=True)
    ]
    return Trial(
        pairs,
        sum(test.shown_worse for test in tests),
        float(np.mean([test.power for test in tests])),
        sum(test.low <= -true_drop <= test.high for test in tests),
    )


def compare_rules(world: World, *, pairs: int, true_drop: float, level: float, seed: int) -> dict[str, list[float]]:
    """Share of alarms and of intervals that hold the truth, by rule, and the mean number of groups that differ."""
    ours, theirs = world.draw(pairs, true_drop, np.random.default_rng(seed))
    sample = Sample.of(ours - theirs, world.sizes)
    found = {"groups that differ": [float(np.count_nonzero(np.abs(sample.sums) > 1e-9, axis=1).mean())]}
    for name, rule in RULES.items():
        low, high = rule(sample, level)
        found[name] = [float((high < 0).mean()), float(((low <= -true_drop) & (high >= -true_drop)).mean())]
    return found
