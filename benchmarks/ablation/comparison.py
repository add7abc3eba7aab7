"""Arms side by side: scores pooled over folds and seeds, and paired differences with intervals over groups.

Pooling is by metric: an attribute's accuracy is taken over all folds together, then the mean over attributes. The mean
of the main metrics gives each of them the same weight, so an attribute counts 1 / (metrics x attributes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from benchmarks.ablation.results import Row
from validation.benchmark import MAIN_METRICS
from validation.statistics import Outcome, paired_difference, pooled

NUM_BOOTSTRAP = 10_000
CONFIDENCE = 0.95
SEED = 0

LEAF_SHOWN, ATTRIBUTES_SHOWN = "category_leaf/accuracy", "attributes/accuracy_macro"
LEAF_HIDDEN, ATTRIBUTES_HIDDEN = "category_leaf_title_hidden/accuracy", "attributes_title_hidden/accuracy_macro"
IMAGE_10 = "image_to_product/recall@10"

_MACRO = {
    ATTRIBUTES_SHOWN: re.compile(r"attribute\.(.+)/accuracy"),
    ATTRIBUTES_HIDDEN: re.compile(r"attribute\.(.+)_title_hidden/accuracy"),
}

Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Judged:
    """A row with every item's result."""

    row: Row
    outcomes: Outcomes


@dataclass(frozen=True, eq=False)
class ArmRows:
    """All rows of one arm under one recipe, one a seed."""

    name: str
    by_seed: Mapping[int, Judged]

    @property
    def rows(self) -> list[Row]:
        return [self.by_seed[seed].row for seed in sorted(self.by_seed)]

    @property
    def title(self) -> str:
        return self.rows[-1].title

    @property
    def odd_seeds(self) -> list[int]:
        """Seeds whose row stands under another configuration than the latest row does."""
        rows = sorted(self.rows, key=lambda row: row.finished_at)
        # A tokenizer that is trained on the fold decides how wide the rival of equal size is.
        keys = [(row.lr_factor, {**row.changes, "model.late_hidden_size": None}) for row in rows]
        return sorted(row.seed for row, key in zip(rows, keys, strict=True) if key != keys[-1])

    @property
    def spread(self) -> float | None:
        """Standard deviation of the main score over seeds; None for fewer than two."""
        scores = [row.main_score for row in self.rows if row.main_score is not None]
        return stdev(scores) if len(scores) > 1 else None


def arm_of(name: str, judged: Sequence[Judged]) -> ArmRows:
    """The arm's rows, the latest of each seed."""
    return ArmRows(name, {one.row.seed: one for one in judged})


def parts(outcomes: Outcomes, metric: str) -> dict[str, Outcome]:
    """What a metric is the mean of, by a name that is the same with the title shown and hidden."""
    pattern = _MACRO.get(metric)
    if pattern is None:
        return {"": outcomes[metric]} if metric in outcomes else {}
    found = {name: pattern.fullmatch(name) for name in outcomes}
    shown = metric == ATTRIBUTES_SHOWN
    return {
        hit.group(1): outcomes[name]
        for name, hit in found.items()
        if hit and not (shown and hit.group(1).endswith("_title_hidden"))
    }


def pooled_parts(judged: Sequence[Judged], metric: str) -> dict[str, Outcome]:
    """As `parts`, over several rows; a part counts wherever it was asked."""
    by_part: dict[str, list[Outcome]] = {}
    for number, one in enumerate(judged):
        for part, outcome in parts(one.outcomes, metric).items():
            # The row's number keeps items of different rows apart also where a part is missing from some of them.
            named = Outcome(tuple(f"{number}/{key}" for key in outcome.ids), outcome.groups, outcome.values)
            by_part.setdefault(part, []).append(named)
    return {part: pooled(found) for part, found in sorted(by_part.items())}


@dataclass(frozen=True)
class Pooled:
    """A score over all rows of an arm."""

    value: float
    n: int
    """Items judged, each once for each of its repetitions."""
    num_items: int
    """Different items."""


def score(arm: ArmRows, metric: str) -> Pooled | None:
    """The arm's score in `metric`; None where a row has none."""
    judged = [arm.by_seed[seed] for seed in sorted(arm.by_seed)]
    if not all(parts(one.outcomes, metric) for one in judged):
        return None
    found = pooled_parts(judged, metric)
    keys = {(part, key) for one in judged for part, own in parts(one.outcomes, metric).items() for key in own.ids}
    return Pooled(
        fmean(float(outcome.values.mean()) for outcome in found.values()),
        sum(len(outcome.ids) for outcome in found.values()),
        len(keys),
    )


def main_mean(arm: ArmRows, metrics: Sequence[str] = MAIN_METRICS) -> float | None:
    """Mean of the pooled main metrics; None where one is missing."""
    found = [score(arm, metric) for metric in metrics]
    return None if any(one is None for one in found) else fmean(one.value for one in found if one is not None)


def paired_rows(ours: ArmRows, theirs: ArmRows) -> list[tuple[Judged, Judged]]:
    """Rows of both on the same questions: of the same seed, or, for a rival that has no seed, of the same fold."""
    pairs = []
    for seed in sorted(ours.by_seed):
        own = ours.by_seed[seed]
        others = [theirs.by_seed[seed]] if seed in theirs.by_seed else []
        if own.row.fold is None and not others and theirs.rows[0].kind == "baseline":
            others = list(theirs.by_seed.values())
        same = [other for other in others if _same_questions(own.row, other.row)]
        if same:
            pairs.append((own, same[0]))
    return pairs


@dataclass(frozen=True)
class Gap:
    """A paired difference, and what it rests on."""

    value: float
    low: float
    high: float
    n: int
    """Answers compared, those of repeated seeds and of several metrics each counted."""
    num_groups: int
    """Groups of variants, which the bootstrap draws: what is independent."""
    num_pairs: int
    """Pairs of trainings."""


def difference(
    ours: ArmRows, theirs: ArmRows, metrics: Sequence[str], their_metrics: Sequence[str] | None = None
) -> Gap | None:
    """Mean over `metrics` of ours minus theirs, on the rows that both have; None where one has no such score.

    Args:
        ours: One arm.
        theirs: Another.
        metrics: Each counts the same, however many parts it has.
        their_metrics: What of theirs each is held against; the same metric where empty.
    """
    pairs = paired_rows(ours, theirs)
    own_parts: list[Outcome] = []
    other_parts: list[Outcome] = []
    weights: list[float] = []
    for metric, their_metric in zip(metrics, their_metrics or metrics, strict=True):
        if not pairs or any(
            not parts(own.outcomes, metric) or not parts(other.outcomes, their_metric) for own, other in pairs
        ):
            return None
        own = pooled_parts([pair[0] for pair in pairs], metric)
        other = pooled_parts([pair[1] for pair in pairs], their_metric)
        for part in own:
            own_parts.append(own[part])
            other_parts.append(other[part])
            weights.append(1.0 / (len(metrics) * len(own)))
    # paired_difference gives every part the same weight, 1 / parts: the values carry the rest. Where a resample lacks a
    # part the others' weights are then a little off; of a part with ten groups, one resample in 20,000 does.
    scaled = [
        [_times(outcome, weight * len(weights)) for outcome, weight in zip(one, weights, strict=True)]
        for one in (own_parts, other_parts)
    ]
    found = paired_difference(*scaled, num_bootstrap=NUM_BOOTSTRAP, confidence=CONFIDENCE, seed=SEED)
    groups = {group for outcome in own_parts for group in outcome.groups}
    return Gap(found.value, found.low, found.high, found.n, len(groups), len(pairs))


def is_sure(gap: Gap) -> bool:
    """Whether the interval lies on one side of zero, and more than one training says so."""
    return gap.num_pairs > 1 and (gap.low > 0 or gap.high < 0)


def by_pair(ours: ArmRows, theirs: ArmRows, metrics: Sequence[str] = MAIN_METRICS) -> list[float]:
    """Mean over `metrics` of ours minus theirs, of each pair of rows by itself; empty where one has no such score."""
    found = []
    for own, other in paired_rows(ours, theirs):
        means = [main_mean(arm_of(arm.name, [one]), metrics) for arm, one in ((ours, own), (theirs, other))]
        if means[0] is None or means[1] is None:
            return []
        found.append(means[0] - means[1])
    return found


def _times(outcome: Outcome, factor: float) -> Outcome:
    return Outcome(outcome.ids, outcome.groups, outcome.values * factor)


def _same_questions(left: Row, right: Row) -> bool:
    return left.eval_set_digest == right.eval_set_digest and left.harness_digest == right.harness_digest
