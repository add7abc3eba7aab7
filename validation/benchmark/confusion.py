"""Which category is answered for which: what an encoder mistakes, beside how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from validation.benchmark.evalset import LabelTask
from validation.benchmark.label_answers import LabelAnswers
from validation.benchmark.metrics import NO_ANSWER

MOST_PAIRS = 40
"""Pairs kept of a task, those of siblings and the others each; our choice, so that a record stays small."""


@dataclass(frozen=True)
class Confusion:
    """One label given for another."""

    right: str
    given: str
    count: int
    siblings: bool
    """Whether both lie right below the same parent. Roots have none, so they are nobody's siblings."""


@dataclass(frozen=True)
class Confusions:
    """The mistakes of one task whose labels are leaves of a tree."""

    task: str
    n: int
    """Products asked about."""
    wrong: int
    """Given a wrong label."""
    wrong_sibling: int
    """Of those, given a sibling of the right label."""
    unanswered: int
    """Given none, since a wrong label tied with the best; not in `wrong`."""
    num_pairs: int
    """Different (right, given) pairs."""
    pairs: tuple[Confusion, ...]
    """The most frequent first."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Confusions:
        """Read what `asdict` gave."""
        return cls(**{**data, "pairs": tuple(Confusion(**pair) for pair in data["pairs"])})


def confusions(task: LabelTask, answers: LabelAnswers, *, most: int = MOST_PAIRS) -> Confusions:
    """Count the mistakes of a task with one right label an item.

    Args:
        task: With the path of each label.
        answers: What was given.
        most: Pairs kept, of siblings and of others each.
    """
    counts = Counter(
        (right[0], given)
        for right, given in zip(task.answers, answers.best.tolist(), strict=True)
        if right and given not in (*right, NO_ANSWER)
    )
    found = [
        Confusion(task.labels[right], task.labels[given], count, _siblings(task.paths[right], task.paths[given]))
        for (right, given), count in counts.items()
    ]
    found.sort(key=lambda pair: (-pair.count, pair.right, pair.given))
    kept: list[Confusion] = []
    room = {True: most, False: most}
    for pair in found:
        if room[pair.siblings]:
            room[pair.siblings] -= 1
            kept.append(pair)
    return Confusions(
        task=task.name,
        n=len(task.items),
        wrong=counts.total(),
        wrong_sibling=sum(pair.count for pair in found if pair.siblings),
        unanswered=answers.best.tolist().count(NO_ANSWER),
        num_pairs=len(found),
        pairs=tuple(kept),
    )


def _siblings(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return len(one) > 1 and one[:-1] == other[:-1]
