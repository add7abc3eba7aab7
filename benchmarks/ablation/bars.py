"""The bars that the results are held to, each met, missed or not measured yet, with its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.ablation.arms import BASELINES, DUAL, FULL, PAPERS_PARTS, PUT_IN
from benchmarks.ablation.comparison import (
    ATTRIBUTES_HIDDEN,
    ATTRIBUTES_SHOWN,
    IMAGE_10,
    LEAF_HIDDEN,
    LEAF_SHOWN,
    ArmRows,
    Gap,
    difference,
    is_sure,
)
from benchmarks.ablation.protocol import Protocol
from benchmarks.ablation.results import Row
from validation.benchmark import MAIN_METRICS

TEXT_10, BOTH_1 = "text_to_product/recall@10", "both_to_product/recall@1"
MAX_MINUTES = 20.0
MAX_PARAMETERS_FRAC = 0.1
SHOWN = {LEAF_HIDDEN: LEAF_SHOWN, ATTRIBUTES_HIDDEN: ATTRIBUTES_SHOWN}
"""What a rival of words may be shown where the model is shown no title."""

_NAMES = {
    IMAGE_10: "image->product R@10",
    TEXT_10: "text->product R@10",
    BOTH_1: "both->product R@1",
    LEAF_HIDDEN: "leaf, title hidden",
    ATTRIBUTES_HIDDEN: "attributes, title hidden",
}


@dataclass(frozen=True)
class Bar:
    """One demand."""

    text: str
    verdict: Literal["met", "missed", "open"]
    numbers: str


def told(found: Gap | None) -> str:
    """A difference in points with its interval, and what it rests on."""
    if found is None:
        return "n/a"
    return (
        f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}], "
        f"{found.n} answers, {found.num_groups} groups"
    )


def evaluate(
    protocol: Protocol, arms: Mapping[str, ArmRows], lr_rows: Sequence[Row], wanted: Sequence[str] = ()
) -> list[Bar]:
    """Every bar of one data set.

    Args:
        protocol: Of the data.
        arms: Arms and baselines of one recipe, by name.
        lr_rows: Learning rates tried under it.
        wanted: Arms that change something in this recipe; all of the protocol's where empty.
    """
    found = [_complete(protocol, arms, wanted or protocol.arms)]
    if FULL not in arms or DUAL not in arms:
        return [*found, Bar("full ahead of the dual encoder", "open", "one of them has no row")]
    full, dual = arms[FULL], arms[DUAL]
    found += [_parameters(full, dual), _tried(full, dual, lr_rows)]
    if protocol.num_folds > 1:
        found.append(_minutes(arms))
        found += [_not_below(full, arms, metric) for metric in (IMAGE_10, TEXT_10)]
        found += [_above(full, arms, metric) for metric in (BOTH_1, LEAF_HIDDEN, ATTRIBUTES_HIDDEN)]
    found.append(_over_zero("mean of the five above the dual encoder's", difference(full, dual, MAIN_METRICS)))
    for name, title in PAPERS_PARTS.items():
        found.append(_part(full, arms, name, title))
    return found


def _complete(protocol: Protocol, arms: Mapping[str, ArmRows], wanted: Sequence[str]) -> Bar:
    absent = [name for name in wanted if name not in arms]
    short = [
        f"{name} lacks {', '.join(str(seed) for seed in protocol.seeds if seed not in arms[name].by_seed)}"
        for name in wanted
        if name in arms and any(seed not in arms[name].by_seed for seed in protocol.seeds)
    ]
    short += [
        f"{name}: seeds {', '.join(map(str, arm.odd_seeds))} under another configuration than the latest"
        for name, arm in arms.items()
        if arm.odd_seeds
    ]
    kind = f"{len(protocol.seeds)} seeds" + (f", {protocol.num_folds} folds" if protocol.num_folds > 1 else "")
    numbers = "; ".join([f"no rows: {', '.join(absent)}"] * bool(absent) + short) or "all there"
    return Bar(f"every arm with {kind}", "open" if short or absent else "met", numbers)


def _parameters(full: ArmRows, dual: ArmRows) -> Bar:
    gaps = [
        abs(dual.by_seed[seed].row.trainable - full.by_seed[seed].row.trainable) / full.by_seed[seed].row.trainable
        for seed in sorted(full.by_seed.keys() & dual.by_seed.keys())
    ]
    text = f"trainable parameters of the dual encoder within {100 * MAX_PARAMETERS_FRAC:.0f} % of full's"
    if not gaps:
        return Bar(text, "open", "no seed in common")
    counts = f"{dual.rows[-1].trainable:,} and {full.rows[-1].trainable:,}; farthest {100 * max(gaps):.1f} % apart"
    return Bar(text, "met" if max(gaps) <= MAX_PARAMETERS_FRAC else "missed", counts)


def _tried(full: ArmRows, dual: ArmRows, lr_rows: Sequence[Row]) -> Bar:
    text = "as many learning rates tried for both"
    tried = {name: sorted({row.lr_factor for row in lr_rows if row.arm == name}) for name in (FULL, DUAL)}
    if not any(tried.values()):
        return Bar(text, "open", "none tried under this recipe: both have its own")
    used = {arm.name: sorted({row.lr_factor for row in arm.rows}) for arm in (full, dual)}
    numbers = "; ".join(
        f"{name}: tried {', '.join(f'{one:g}' for one in tried[name])}, "
        f"used {', '.join(f'{one:g}' for one in used[name])}"
        for name in (FULL, DUAL)
    )
    return Bar(text, "met" if tried[FULL] == tried[DUAL] else "missed", numbers)


def _minutes(arms: Mapping[str, ArmRows]) -> Bar:
    longest = max((row for arm in arms.values() for row in arm.rows), key=lambda row: row.train_s)
    minutes = longest.train_s / 60
    where = f"{minutes:.1f} min at most ({longest.arm}, seed {longest.seed}; {longest.machine.get('cpu', 'unknown')})"
    return Bar(f"a training takes at most {MAX_MINUTES:.0f} min", "met" if minutes <= MAX_MINUTES else "missed", where)


def _over_zero(text: str, gap: Gap | None) -> Bar:
    if gap is None:
        return Bar(text, "open", "no rows to compare")
    if gap.low > 0 and not is_sure(gap):
        return Bar(f"{text} (interval over 0)", "open", f"{told(gap)}; one pair of trainings")
    return Bar(f"{text} (interval over 0)", "met" if gap.low > 0 else "missed", told(gap))


def _part(full: ArmRows, arms: Mapping[str, ArmRows], name: str, title: str) -> Bar:
    """A part of the paper's: what is lost without it, or gained with it where the recipe does without."""
    put_in = arms.get(PUT_IN.get(name, ""))
    if name not in arms and put_in is not None:
        text = f"mean of the five rises with {title}, which the recipe has not ({put_in.title})"
        return _over_zero(text, difference(put_in, full, MAIN_METRICS))
    gap = difference(full, arms[name], MAIN_METRICS) if name in arms else None
    return _over_zero(f"mean of the five falls without {title}", gap)


def _not_below(full: ArmRows, arms: Mapping[str, ArmRows], metric: str) -> Bar:
    text = f"{_NAMES[metric]} not below the dual encoder or any trivial baseline (interval not under 0)"
    return _against_all(text, full, arms, metric, lambda gap: gap.high >= 0)


def _above(full: ArmRows, arms: Mapping[str, ArmRows], metric: str) -> Bar:
    text = f"{_NAMES[metric]} above the dual encoder and every trivial baseline (interval over 0)"
    return _against_all(text, full, arms, metric, lambda gap: gap.low > 0)


def _against_all(
    text: str, full: ArmRows, arms: Mapping[str, ArmRows], metric: str, holds: Callable[[Gap], bool]
) -> Bar:
    gaps = rivals_on(full, arms, metric)
    absent = [baseline.name for baseline in BASELINES if baseline.name not in arms]
    numbers = "; ".join(f"{name} {told(gap)}" for name, gap in gaps.items())
    if any(not holds(gap) for gap in gaps.values()):
        return Bar(text, "missed", numbers)
    if absent:
        return Bar(text, "open", f"{numbers}; no rows: {', '.join(absent)}")
    return Bar(text, "met", numbers)


def rivals_on(full: ArmRows, arms: Mapping[str, ArmRows], metric: str) -> dict[str, Gap]:
    """Full minus each rival that can be asked, the dual encoder first; a rival of words also with the title shown."""
    gaps: dict[str, Gap | None] = {}
    for name in (DUAL, *(baseline.name for baseline in BASELINES)):
        if name not in arms:
            continue
        gaps[name] = difference(full, arms[name], [metric])
        if name == "title_words" and metric in SHOWN:
            gaps["title_words shown the title"] = difference(full, arms[name], [metric], [SHOWN[metric]])
    return {name: gap for name, gap in gaps.items() if gap is not None}
