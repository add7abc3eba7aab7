"""What must hold in every part of the items; the worst part is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from validation.benchmark.metrics import lower_is_better
from validation.benchmark.record import Score
from validation.gate.champion import compare_by, fault_of, power_told
from validation.gate.config import GatePolicy, NoLoss, SliceRules
from validation.gate.decision import RuleResult
from validation.gate.evidence import Scored, UnknownError, finite, gap, unknown
from validation.gate.paired import Comparison

Parts = list[tuple[str, Score]]
"""Slice and the candidate's score there."""


def slice_bounds(rules: SliceRules, candidate: Scored, others: Sequence[Scored]) -> Iterator[RuleResult]:
    """Floors and ceilings in slices.

    Args:
        rules: Of the policy.
        candidate: The model that asks.
        others: Whoever was judged on the same set: a slice that any of them has must not be missing here.
    """
    for prefix, metrics in (("slice_floor", rules.floors), ("slice_ceiling", rules.ceilings)):
        for metric, kinds in metrics.items():
            for kind, bound in kinds.items():
                name = f"{prefix}/{metric}[{kind}]"
                try:
                    parts, small = _parts(rules, candidate, others, metric, kind)
                    yield _bounded(name, parts, metric, bound) if not small else RuleResult(name, False, small)
                except UnknownError as error:
                    yield unknown(name, str(error), bound=bound)


def slice_losses(
    policy: GatePolicy, candidate: Scored, champion: Scored, others: Sequence[Scored]
) -> Iterator[RuleResult]:
    """No regression in any slice, against a champion that is comparable."""
    for metric, kinds in policy.slices.champion.items():
        for kind, rule in kinds.items():
            name = f"slice_champion/{metric}[{kind}]"
            try:
                parts, small = _parts(policy.slices, candidate, [champion, *others], metric, kind)
                if small:
                    yield RuleResult(name, False, small)
                else:
                    yield _no_loss(name, policy, candidate, champion, parts, metric, rule)
            except UnknownError as error:
                yield unknown(name, str(error))


def _parts(rules: SliceRules, candidate: Scored, others: Sequence[Scored], metric: str, kind: str) -> tuple[Parts, str]:
    """Slices large enough to judge, and what refuses where one is not."""
    names = sorted({name for side in (candidate, *others) for name in _names(side, metric, kind)})
    if not names:
        raise UnknownError(f"{metric} has no slice {kind}" if "=" in kind else f"{metric} has no slices by {kind}")
    parts = [(name, candidate.score(f"{metric}[{name}]")) for name in names]
    small = sorted((score.n, name) for name, score in parts if score.n < rules.min_n)
    if small and rules.small == "refuse":
        n, name = small[0]
        return [], f"{len(small)} of {len(parts)} slices are too small: {name} has {n} items of {rules.min_n}"
    judged = [(name, score) for name, score in parts if score.n >= rules.min_n]
    if not judged:
        raise UnknownError(f"every slice of {metric} by {kind} has fewer than {rules.min_n} items")
    return judged, ""


def _names(side: Scored, metric: str, kind: str) -> Iterator[str]:
    head = f"{metric}["
    for key in side.record.slices:
        if key.startswith(head):
            name = key.removeprefix(head).removesuffix("]")
            if name == kind or name.startswith(f"{kind}="):
                yield name


def _bounded(name: str, parts: Parts, metric: str, bound: float) -> RuleResult:
    sign = -1.0 if lower_is_better(metric) else 1.0
    worst, score = min(parts, key=lambda part: (sign * part[1].value, part[0]))
    # Written so that a value that is no number breaks the rule.
    broken = [part for part, own in parts if not sign * own.value >= sign * bound]
    short = f": {gap(abs(bound - score.value), metric)} short" if broken else ""
    of_all = f"{len(broken)} of {len(parts)} slices break it" if broken else f"all {len(parts)} slices keep it"
    return RuleResult(name, not broken, f"{of_all}; worst {worst} (n {score.n}){short}", score.value, bound)


def _no_loss(
    name: str,
    policy: GatePolicy,
    candidate: Scored,
    champion: Scored,
    parts: Parts,
    metric: str,
    rule: NoLoss,
) -> RuleResult:
    compared: list[tuple[str, Comparison, str]] = []
    for part, _ in parts:
        # Bonferroni: of twenty slices of equal models, one would else be expected to lose at level 0.05.
        own = compare_by(policy, candidate, champion, f"{metric}[{part}]", rule, share=len(parts))
        compared.append((part, own, fault_of(policy, own, rule)))
    faulty = [row for row in compared if row[2]]
    worst, own, fault = min(faulty or compared, key=lambda row: (row[1].test.value, row[0]))
    of_all = f"{len(faulty)} of {len(parts)} slices refuse" if faulty else f"no loss is shown in {len(parts)} slices"
    reason = f"{of_all}; worst {worst}: {fault + ': ' if fault else ''}{own.sentence(metric)}"
    reason += power_told(policy, own, rule)
    key = f"{metric}[{worst}]"
    return RuleResult(
        name,
        not faulty,
        reason,
        value=candidate.score(key).value,
        incumbent=champion.score(key).value,
        low=own.test.low,
        high=own.test.high,
        power=own.test.power,
        smallest_drop=finite(own.test.smallest_drop),
    )
