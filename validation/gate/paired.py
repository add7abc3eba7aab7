"""Two encoders on the same items: what a metric's values are, how they differ, and what could have been seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from validation.benchmark.metrics import lower_is_better, parts_of
from validation.benchmark.table import main_metrics
from validation.errors import BenchmarkError
from validation.gate.evidence import Scored, UnknownError, gap
from validation.statistics import Outcome, PairedTest, paired_test, power_of
from validation.statistics.outcomes import paired_parts
from validation.statistics.power import Spread

_ROUNDING = 1e-5
"""Between a score and the mean of its items, which are kept with six digits."""


@dataclass(frozen=True)
class Comparison:
    """Candidate minus other on the same items; above 0 is better, whatever the metric."""

    test: PairedTest
    sure_power: float
    """The test's power, told so that no worse answer raises it: what a rule that asks for power goes by."""

    def shows_lead(self, by: float) -> bool:
        """Whether the whole interval lies above `by`, which is 0 or more."""
        return self.test.low > by

    def sentence(self, key: str) -> str:
        """The difference, its interval, and what this set can show."""
        test = self.test
        least = f"one of {gap(test.smallest_drop, key)} with 0.80"
        if math.isinf(test.smallest_drop) or (test.smallest_drop > 1.0 and not lower_is_better(key)):
            least = "and none with 0.80"
        return (
            f"{interval(test, key)} on {test.n} items in {test.num_groups} groups; "
            f"a true loss of {gap(test.drop, key)} would be shown with power {test.power:.2f}, {least}"
        )


def interval(test: PairedTest, key: str) -> str:
    """A difference and its interval, in the unit people say it in."""
    scale, unit = (1.0, "ranks") if lower_is_better(key) else (100.0, "points")
    return f"{scale * test.value:+.1f} [{scale * test.low:+.1f}, {scale * test.high:+.1f}] {unit}"


def compare(own: Scored, other: Scored, key: str, *, level: float, drop: float) -> Comparison:
    """Pair the two on a metric, or on a slice of one.

    Args:
        own: The candidate.
        other: The rival or champion.
        key: `task/metric` or `task/metric[slice]`.
        level: Of the one-sided test.
        drop: Loss to be caught, in the metric's unit.

    Raises:
        UnknownError: Values of single items are not there, are not those of the record, or belong to other items.
    """
    higher = not lower_is_better(key)
    return _compared(outcomes_of(own, key), outcomes_of(other, key), level, drop, higher_is_better=higher)


def compare_main(own: Scored, other: Scored, *, level: float) -> Comparison:
    """Pair the two on the main score: the mean of the main metrics, each with equal weight.

    Raises:
        UnknownError: As `compare`, or the two main scores are means of different metrics.
    """
    metrics = main_metrics(own.record)
    if metrics != main_metrics(other.record):
        raise UnknownError("the main score is not made of the same metrics for both")
    ours, theirs = ([_equal_weight(outcomes_of(side, key), key) for key in metrics] for side in (own, other))
    return _compared(ours, theirs, level, drop=1.0)


def outcomes_of(own: Scored, key: str) -> list[Outcome]:
    """A metric's values item by item, held against the score.

    A macro accuracy has no values of its own: its attributes', the mean of whose means it is, stand for them.

    Raises:
        UnknownError: They are not there, or are not those of the record.
    """
    score, whose = own.score(key), f"{own.who}: " if own.who else ""
    names = parts_of(key, (name.removesuffix("/accuracy") for name in own.outcomes if name.endswith("/accuracy")))
    found = [own.outcomes[name] for name in names if name in own.outcomes]
    if not found:
        raise UnknownError(
            f"{whose}{key} has no values of single items, without which nothing can be compared in pairs"
        )
    if sum(len(part.values) for part in found) != score.n or not all(_is_whole(part) for part in found):
        raise UnknownError(f"{whose}the values of single items of {key} are damaged")
    mean = float(np.mean([np.mean(part.values) for part in found]))
    if not abs(mean - score.value) <= _ROUNDING * max(1.0, abs(score.value)):
        raise UnknownError(f"{whose}the values of single items of {key} are not those that its score was made of")
    return found


def _is_whole(outcome: Outcome) -> bool:
    return len(outcome.values) == len(outcome.ids) == len(outcome.groups) > 0 and bool(
        np.isfinite(np.asarray(outcome.values, dtype=np.float64)).all()
    )


def _equal_weight(parts: Sequence[Outcome], key: str) -> Outcome:
    """One outcome whose mean is the plain mean of the parts' means: an item is weighted by its part's size."""
    if len(parts) == 1:
        return parts[0]
    total = sum(len(part.values) for part in parts)
    return Outcome(
        tuple(f"{key} {number} {item}" for number, part in enumerate(parts) for item in part.ids),
        tuple(group for part in parts for group in part.groups),
        np.concatenate([part.values * (total / (len(parts) * len(part.values))) for part in parts]),
    )


def _compared(
    ours: list[Outcome], theirs: list[Outcome], level: float, drop: float, *, higher_is_better: bool = True
) -> Comparison:
    try:
        test = paired_test(ours, theirs, level=level, drop=drop, higher_is_better=higher_is_better)
        parts = paired_parts(ours, theirs)
    except BenchmarkError as error:
        raise UnknownError(f"{error.problem}: {error.got}" if error.got else error.problem) from None
    if not higher_is_better:
        parts = [(-values, groups) for values, groups in parts]
    return Comparison(test, power_of(drop, _spread_of_losses(parts, level), level=level))


def _spread_of_losses(parts: Sequence[tuple[np.ndarray, Sequence[str]]], level: float) -> Spread:
    """How differences between equal models scatter, told so that a worse answer never raises the power.

    Equal models lose as often as they win, so twice the sum of squares of the groups that lost stands for the sum of
    all, and twice the number of those that won for the number that differ. Our choice, and why: counted from both, as
    the paired test counts, a candidate that turns wins into ties would look steadier, gain power and might pass because
    it became worse. So every part here is one by which a worse answer can only lower the power: beside those two, the
    largest loss, and a concentration below 1 / z^2, up to which more scatter means less power. One item more is counted
    as lost than was seen, because a set on which nothing happened has shown nothing about what it can show.
    """
    names = {name: row for row, name in enumerate(sorted({group for _, groups in parts for group in groups}))}
    sums, weights = np.zeros((2, len(names)))
    for values, groups in parts:
        rows, scale = np.array([names[group] for group in groups]), 1.0 / (len(values) * len(parts))
        sums += np.bincount(rows, values, minlength=len(names)) * scale
        weights += np.bincount(rows, minlength=len(names)) * scale
    losses = np.minimum(sums, 0.0)
    one_item = max(1.0 / (len(values) * len(parts)) for values, _ in parts)
    return Spread(
        math.sqrt(2.0 * (float(losses @ losses) + one_item**2)),
        num_groups=len(names),
        num_differing=min(2.0 * np.count_nonzero(sums > 0.0), len(names)),
        concentration=min(float(weights @ weights), NormalDist().inv_cdf(1.0 - level) ** -2),
        largest=max(1.0, float(-(losses / weights).min())),
    )
