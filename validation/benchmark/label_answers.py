"""What an encoder answered to a label question, and what that is worth item by item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from catalog.errors import ModelError
from catalog.labels import TIE_TOLERANCE
from validation.benchmark.evalset import LabelTask
from validation.benchmark.metrics import NO_ANSWER, credit_by_depth, ranking_metrics
from validation.search.ranks import ranks_of_relevant


@dataclass(frozen=True)
class LabelAnswers:
    """The labels given to each of n items."""

    best: np.ndarray
    """(n,) int64: the best label; NO_ANSWER where a wrong one ties with it, so that a constant encoder scores 0."""
    given: np.ndarray
    """(n, m) int64: the best labels, as many as the item has right ones, padded with NO_ANSWER; none of those that tie
    for the last place."""
    value_precision: np.ndarray | None = None
    """(n,) float64: average precision of the right labels among all, where items have several."""

    def metrics(self, task: LabelTask) -> dict[str, np.ndarray]:
        """Each metric of each item.

        - `accuracy`: the best label is right.
        - `hierarchical`: for leaves, the share of the right path, from the root, that the best label shares.
        - `map_values`: where items have several right labels, average precision over all labels.
        """
        answered = list(zip(self.best.tolist(), task.answers, strict=True))
        found = {"accuracy": np.array([float(best in right) for best, right in answered])}
        if task.paths:
            found["hierarchical"] = np.array([_credit(task, best, right) for best, right in answered])
        if self.value_precision is not None:
            found["map_values"] = self.value_precision
        return found

    def tables(self, task: LabelTask) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """Right and given labels, for metrics by label; only labels that any item has.

        Returns:
            Two (n, C) tables of 0 and 1. A right value that never occurs in train is a label of its own, never given.
        """
        unmet = len(task.labels)
        right = [own or (unmet,) for own in task.answers]
        rows = np.repeat(np.arange(len(right)), [len(own) for own in right])
        present, columns = np.unique([label for own in right for label in own], return_inverse=True)
        shape = (len(right), len(present))
        at = np.searchsorted(present, self.given)
        there = present[np.minimum(at, len(present) - 1)] == self.given
        return _ones(rows, columns, shape), _ones(np.nonzero(there)[0], at[there], shape)


def answer(task: LabelTask, items: np.ndarray, labels: np.ndarray, *, block_mib: int) -> LabelAnswers:
    """Answer a label question by nearness.

    Args:
        task: The question.
        items: (n, D) vectors of its items.
        labels: (L, D) vectors of its labels.
        block_mib: Most memory for one block of scores.

    Raises:
        ModelError: A score is not a finite number.
    """
    if not (np.isfinite(items).all() and np.isfinite(labels).all()):
        raise ModelError("an item's or label's vector is not finite", where=task.name)
    most = max(1, *(len(own) for own in task.answers))
    best, given = [], []
    for rows in _blocks(len(items), len(labels), block_mib):
        scores = items[rows].astype(np.float64) @ labels.T.astype(np.float64)
        best.append(_best_label(scores, task.answers[rows]))
        given.append(_best_labels(scores, np.array([max(1, len(own)) for own in task.answers[rows]]), most))
    precision = None
    if task.is_several_valued:
        met = [row for row, own in enumerate(task.answers) if own]
        precision = np.zeros(len(items))
        try:
            ranks = ranks_of_relevant(items[met], labels, [task.answers[row] for row in met], block_mib=block_mib)
        except ValueError as error:
            raise ModelError("scores cannot be ranked", where=task.name, got=str(error)) from None
        precision[met] = ranking_metrics(ranks, ())["map"]
    return LabelAnswers(np.concatenate(best), np.concatenate(given), precision)


def majority_answer(task: LabelTask) -> LabelAnswers:
    """The most frequent label of train, whatever the item; it ranks no further ones."""
    best = np.full(len(task.items), task.majority, dtype=np.int64)
    return LabelAnswers(best, best[:, None])


def _best_label(scores: np.ndarray, answers: Sequence[tuple[int, ...]]) -> np.ndarray:
    near = scores >= scores.max(axis=1, keepdims=True) - TIE_TOLERANCE
    best = near.argmax(axis=1)
    for row in np.flatnonzero(near.sum(axis=1) > 1).tolist():
        if not set(np.flatnonzero(near[row]).tolist()) <= set(answers[row]):
            best[row] = NO_ANSWER
    return best


def _best_labels(scores: np.ndarray, counts: np.ndarray, most: int) -> np.ndarray:
    """The `counts` best labels of each row, best first; one label more than the largest count must be there."""
    best = np.argpartition(-scores, most, axis=1)[:, : most + 1]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    ordered = np.take_along_axis(scores, best, axis=1)
    # Labels that tie with the first one left out could as well have been left out themselves.
    left_out = np.take_along_axis(ordered, counts[:, None], axis=1)
    return np.where(ordered > left_out + TIE_TOLERANCE, best, NO_ANSWER)[:, :most]


def _ones(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)


def _blocks(num_items: int, num_labels: int, block_mib: int) -> Iterator[slice]:
    rows = max(1, (block_mib << 20) // (8 * max(1, num_labels)))
    return (slice(start, start + rows) for start in range(0, num_items, rows))


def _credit(task: LabelTask, best: int, right: tuple[int, ...]) -> float:
    if best == NO_ANSWER or not right:
        return 0.0
    return max(credit_by_depth(task.paths[best], task.paths[own]) for own in right)
