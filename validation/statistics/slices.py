"""One metric by parts of the items, and the part that an encoder serves worst."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from validation.statistics.intervals import macro_interval

OTHER = "other"
"""Name of the slice that small ones of a kind are pooled into."""


@dataclass(frozen=True)
class SliceScore:
    """A metric's mean over one slice."""

    kind: str
    """What the items are told apart by, for example category."""
    name: str
    value: float
    low: float
    high: float
    """Ends of the interval, bootstrap clustered by group, for this slice alone."""
    n: int
    num_groups: int
    """Independent groups among the n."""

    @property
    def label(self) -> str:
        """As a record's keys have it: kind=name."""
        return f"{self.kind}={self.name}"


@dataclass(frozen=True)
class WorstSlice:
    """The slice with the worst mean, told with the caution that it was picked among several."""

    score: SliceScore
    low: float
    high: float
    """Ends of the interval whose coverage allows for the picking (Bonferroni over all slices compared)."""
    num_compared: int
    """Slices it is the worst of."""
    overall: float
    """The metric's mean over all items."""
    shown: bool
    """Does that interval leave out the overall mean? If not, the worst of so many may be worst by luck."""

    def __str__(self) -> str:
        sure = "worse than the whole beyond chance" if self.shown else "perhaps by chance"
        return (
            f"worst of {self.num_compared} slices: {self.score.label} {self.score.value:.3f} "
            f"[{self.low:.3f}, {self.high:.3f}] against {self.overall:.3f} overall (n = {self.score.n}), {sure}"
        )


@dataclass(frozen=True)
class SliceReport:
    """Scores by slice, kind by kind."""

    scores: tuple[SliceScore, ...]
    worst: WorstSlice | None
    """None where fewer than two slices are large enough."""
    notes: tuple[str, ...]
    """What was pooled or left out, and why."""


def score_slices(
    values: np.ndarray,
    groups: Sequence[str],
    slices: Mapping[str, Sequence[str]],
    *,
    min_n: int,
    num_bootstrap: int,
    confidence: float,
    seed: int,
    pool_small: Iterable[str] = ("category",),
    higher_is_better: bool = True,
) -> SliceReport:
    """Score the items slice by slice, and name the worst.

    The worst is the one with the worst mean among slices of at least `min_n` items: by point estimate, since an end of
    the interval would rather name the smallest. The smallest of many means is low by luck alone, so its interval is
    widened for their number.

    Args:
        values: (n,) one metric's value for every item.
        groups: The group of each.
        slices: For each kind, the slice that each item is in; "" for an item of which it is not known.
        min_n: Items that a slice must have to be scored.
        num_bootstrap: Resamples.
        confidence: Coverage of each slice's own interval, and of the worst's after the widening.
        seed: Of the resampling.
        pool_small: Kinds whose slices of fewer items are pooled into `other`; of the rest they are left out.
        higher_is_better: False for ranks.

    Returns:
        Slices in the order of kinds, then of names, `other` last. A kind with one slice tells nothing and is left out.

    Raises:
        ValueError: A kind does not have as many names as there are values.
    """
    scores: list[SliceScore] = []
    notes: list[str] = []
    settings = {"num_bootstrap": num_bootstrap, "seed": seed}
    rows_of: dict[str, np.ndarray] = {}
    values = np.asarray(values, dtype=np.float64)
    for kind, names in slices.items():
        if len(names) != len(values):
            raise ValueError(f"{kind}: {len(names)} names for {len(values)} values")
        parts, told = _parts(kind, names, min_n, kind in set(pool_small))
        notes += told
        for name, rows in parts.items():
            own = [groups[row] for row in rows]
            low, high = macro_interval([(values[rows], own)], confidence=confidence, **settings)
            score = SliceScore(kind, name, float(values[rows].mean()), low, high, len(rows), len(set(own)))
            scores.append(score)
            rows_of[score.label] = rows
    if len(scores) < 2:
        return SliceReport(tuple(scores), None, tuple(notes))
    worst = (min if higher_is_better else max)(scores, key=lambda score: score.value)
    rows, overall = rows_of[worst.label], float(values.mean())
    part = (values[rows], [groups[row] for row in rows])
    low, high = macro_interval([part], confidence=1.0 - (1.0 - confidence) / len(scores), **settings)
    shown = high < overall if higher_is_better else low > overall
    return SliceReport(tuple(scores), WorstSlice(worst, low, high, len(scores), overall, shown), tuple(notes))


def _parts(kind: str, names: Sequence[str], min_n: int, pool: bool) -> tuple[dict[str, np.ndarray], list[str]]:
    """Rows of each slice that is large enough, and what became of the rest."""
    known = np.array(names, dtype=object)
    rows = {name: np.flatnonzero(known == name) for name in sorted(set(names) - {""})}
    notes = [f"{kind}: unknown for {np.sum(known == '')} of {len(names)} items"] if "" in names else []
    small = [name for name, own in rows.items() if len(own) < min_n]
    parts = {name: own for name, own in rows.items() if name not in small}
    if small:
        together = np.sort(np.concatenate([rows[name] for name in small]))
        listed = ", ".join(small[:3]) + (f" and {len(small) - 3} more" if len(small) > 3 else "")
        if pool and len(small) > 1 and len(together) >= min_n:
            # A slice that is itself called so keeps its name to itself.
            parts[OTHER if OTHER not in parts else f"{OTHER} (pooled)"] = together
            notes.append(f"{kind}: {len(small)} slices with under {min_n} items each are pooled: {listed}")
        else:
            notes.append(f"{kind}: left out, under {min_n} items each: {listed} ({len(together)} items in all)")
    if len(parts) == 1:
        notes.append(f"{kind}: no comparison, all that is large enough is {next(iter(parts))}")
        return {}, notes
    return parts, notes
