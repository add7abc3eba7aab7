"""Parts of the items in which the candidate does worse than it does overall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from validation.benchmark import BenchmarkRecord, Score
from validation.benchmark.metrics import lower_is_better
from validation.report.scores import is_finite

KINDS = {
    "category": "Root category of the right product",
    "frequency": "Head: the most frequent leaves, half of the train products; tail: all others",
    "leaf": "Whether any train product has the right product's leaf category",
    "modality": "What the right product shows",
    "photos": "Photographs of the right product in the gallery",
    "background": "Behind the object, in the query's photo or else the product's",
    "names_answer": "Whether the query's text shares a word with a right product's title",
    "word_in_title": "Whether a word of the right label stands in the title",
}
"""What each kind of slice means, in the order they are shown."""

MIN_GROUPS = 10
"""Independent groups a slice needs to be called the worst. Our choice: of fewer, a resample of groups says little, and
nothing at all of a single one."""


@dataclass(frozen=True)
class Part:
    """The score of one metric on one part of its items."""

    metric: str
    kind: str
    name: str
    score: Score
    overall: Score
    """On all items."""
    champion: Score | None = None

    @property
    def key(self) -> str:
        return f"{self.metric}[{self.kind}={self.name}]"

    @property
    def shortfall(self) -> float:
        """How far even the interval's better end lies behind the overall score; above 0, chance alone is no excuse."""
        if lower_is_better(self.metric):
            return self.score.low - self.overall.value
        return self.overall.value - self.score.high

    @property
    def loss(self) -> float | None:
        """By how much the champion is better here; None without one."""
        if self.champion is None:
            return None
        gap = self.champion.value - self.score.value
        return -gap if lower_is_better(self.metric) else gap


def slice_parts(
    record: BenchmarkRecord, champion: BenchmarkRecord | None = None, metrics: Sequence[str] | None = None
) -> list[Part]:
    """The slices of `metrics`, all by default, as parts of what they are slices of."""
    wanted = None if metrics is None else set(metrics)
    parts = []
    for key, score in record.slices.items():
        metric, kind, name = _parsed(key, record)
        overall = record.scores.get(metric)
        if overall is None or (wanted is not None and metric not in wanted):
            continue
        if not (is_finite(score) and is_finite(overall)):
            continue
        theirs = champion.slices.get(key) if champion else None
        parts.append(Part(metric, kind, name, score, overall, theirs if theirs and is_finite(theirs) else None))
    return parts


def worst_part(parts: Sequence[Part]) -> Part | None:
    """The one that falls furthest behind its overall score, by the better end of its interval.

    Our choice: by the value alone, a slice of two items would nearly always be the worst. Those of fewer than
    `MIN_GROUPS` groups are never called so.
    """
    return max(_fit(parts), key=lambda part: (part.shortfall, part.key), default=None)


def caution(parts: Sequence[Part]) -> str:
    """What a reader must know beside the worst of `parts`, or where none is called so; sentences without markup."""
    fit, worst = _fit(parts), worst_part(parts)
    if worst is None:
        return f"No slice has {MIN_GROUPS} groups: none is called the worst."
    picked = f"Picked as the worst of {len(fit)} slices"
    left = f", {len(parts) - len(fit)} of fewer than {MIN_GROUPS} groups aside" if len(parts) > len(fit) else ""
    if worst.shortfall <= 0:
        return f"{picked}{left}; its interval reaches the score of all, so it may be chance."
    return f"{picked}{left}: some lie that low by chance, so its interval promises less than it says."


def _fit(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if part.score.num_groups >= MIN_GROUPS]


def lost_parts(parts: Sequence[Part]) -> list[Part]:
    """Those in which the champion is better, the largest loss first."""
    lost = [(part.loss or 0.0, part) for part in parts]
    return [part for loss, part in sorted(lost, key=lambda row: (-row[0], row[1].key)) if loss > 0]


def by_kind(parts: Sequence[Part]) -> Iterator[tuple[str, dict[str, list[Part]]]]:
    """Kind, and by metric its parts, the worst first; kinds in the order of KINDS, further ones after them."""
    for kind in dict.fromkeys([*KINDS, *(part.kind for part in parts)]):
        by_metric: dict[str, list[Part]] = {}
        for part in parts:
            if part.kind == kind:
                by_metric.setdefault(part.metric, []).append(part)
        if by_metric:
            yield kind, {metric: sorted(own, key=_worst_first) for metric, own in by_metric.items()}


def _worst_first(part: Part) -> tuple[float, str]:
    return (-part.score.value if lower_is_better(part.metric) else part.score.value, part.name)


def _parsed(key: str, record: BenchmarkRecord) -> tuple[str, str, str]:
    """Metric, kind and name of a slice's key; attributes may be named with brackets, so the score's key decides."""
    place = key.find("[")
    while place >= 0 and key[:place] not in record.scores:
        place = key.find("[", place + 1)
    kind, _, name = key[place + 1 : -1].partition("=")
    return key[: max(0, place)], kind, name
