"""The board's best encoder against each other one, item by item: which of its leads are shown."""

from __future__ import annotations

from collections.abc import Sequence

from validation.benchmark.metrics import lower_is_better, parts_of
from validation.benchmark.table import shown
from validation.rivals.leaderboard import Entry, rank_metrics, ranked
from validation.statistics import Outcome, PairedTest, paired_test

NOT_ASKED = "n/a"


def against_first(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]] | None:
    """A table of paired differences: first minus other, in points, with the interval of one-sided level 0.05.

    A difference is marked `*` where its interval leaves out 0. Each row is a comparison of its own: of twenty rows of
    equal encoders one is marked.

    Returns:
        Header and rows; None where no other encoder was asked the same items.
    """
    metrics, (first, *others) = rank_metrics(entries), ranked(entries)
    rows = [[entry.model, *(_cell(first, entry, metric) for metric in metrics)] for entry in others]
    rows = [row for row in rows if any(cell != NOT_ASKED for cell in row[1:])]
    return ([f"{first.model}, less", *metrics], rows) if rows else None


def paired(ours: Entry, theirs: Entry, metric: str) -> PairedTest | None:
    """The two on one metric; None where either has no values item by item."""
    keys = parts_of(metric, ours.record.tasks)
    parts: list[tuple[Outcome, Outcome]] = []
    for key in keys:
        if key not in ours.outcomes or key not in theirs.outcomes:
            return None
        parts.append((ours.outcomes[key], theirs.outcomes[key]))
    if not parts:
        return None
    own, other = ([pair[side] for pair in parts] for side in (0, 1))
    return paired_test(own, other, higher_is_better=not lower_is_better(metric))


def _cell(first: Entry, other: Entry, metric: str) -> str:
    test = paired(first, other, metric)
    if test is None:
        return NOT_ASKED
    value, low, high = (shown(metric, number) for number in (test.value, test.low, test.high))
    mark = " *" if test.low > 0 or test.high < 0 else ""
    return f"{_signed(value)} [{_signed(low)}, {_signed(high)}]{mark}"


def _signed(number: str) -> str:
    return number if number.startswith("-") else f"+{number}"
