"""Answers to label questions: ties, several right labels, and one average precision against sklearn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from catalog import ModelError
from validation.benchmark import LabelTask
from validation.benchmark.label_answers import answer, majority_answer
from validation.benchmark.metrics import NO_ANSWER


def ask(answers: list[tuple[int, ...]], num_labels: int, paths: tuple[tuple[str, ...], ...] = ()) -> LabelTask:
    return LabelTask(
        name="attribute.x",
        family="attributes",
        items=tuple(range(len(answers))),
        labels=tuple(f"label {number}" for number in range(num_labels)),
        answers=tuple(answers),
        majority=0,
        hide=frozenset(),
        traits=((),) * len(answers),
        paths=paths,
    )


def scored(rows: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Items and labels whose products are these scores."""
    return np.asarray(rows, dtype=np.float32), np.eye(len(rows[0]), dtype=np.float32)


def test_the_best_label_answers_and_a_tie_with_a_wrong_one_does_not() -> None:
    task = ask([(0,), (0,), (0, 1), (0, 1)], 3)
    rows = [[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.5, 0.5, 0.1], [0.5, 0.1, 0.5]]
    found = answer(task, *scored(rows), block_mib=1)
    assert found.best.tolist() == [0, NO_ANSWER, 0, NO_ANSWER]
    assert found.metrics(task)["accuracy"].tolist() == [1.0, 0.0, 1.0, 0.0]


def test_as_many_labels_are_given_as_are_right_and_none_that_ties_for_the_last_place() -> None:
    task = ask([(0, 1), (0, 1), (2,), ()], 4)
    rows = [[0.9, 0.8, 0.1, 0.0], [0.9, 0.5, 0.5, 0.0], [0.1, 0.2, 0.9, 0.3], [0.4, 0.3, 0.2, 0.1]]
    found = answer(task, *scored(rows), block_mib=1)
    assert found.given.tolist() == [[0, 1], [0, NO_ANSWER], [2, NO_ANSWER], [0, NO_ANSWER]]
    true, given = (table.toarray() for table in found.tables(task))
    assert true.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "the last label is never met"
    assert given.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]


def test_labels_nearer_to_each_other_than_the_tolerance_tie() -> None:
    task = ask([(0,), (0,), (0, 1)], 3)
    near, apart = 0.5 - 5e-7, 0.5 - 5e-6
    found = answer(task, *scored([[0.5, near, 0.1], [0.5, apart, 0.1], [0.9, 0.5, near]]), block_mib=1)
    assert found.best.tolist() == [NO_ANSWER, 0, 0]
    assert found.given.tolist() == [[NO_ANSWER, NO_ANSWER], [0, NO_ANSWER], [0, NO_ANSWER]]


def test_of_several_right_leaves_the_nearest_gives_the_credit() -> None:
    task = ask([(1, 2)], 4, paths=(("a", "b"), ("a", "c"), ("d", "e"), ("d", "f")))
    assert answer(task, *scored([[0.9, 0.1, 0.2, 0.3]]), block_mib=1).metrics(task)["hierarchical"].tolist() == [0.5]


def test_a_constant_encoder_is_given_nothing() -> None:
    task = ask([(0,), (1, 2)], 4)
    found = answer(task, *scored([[0.5] * 4] * 2), block_mib=1)
    assert found.best.tolist() == [NO_ANSWER] * 2
    assert found.tables(task)[1].nnz == 0


def test_several_values_are_ranked_as_sklearn_ranks_them() -> None:
    generator = np.random.default_rng(0)
    vectors, labels = (generator.standard_normal((size, 8)).astype(np.float32) for size in (40, 9))
    answers = [tuple(sorted(generator.choice(9, generator.integers(1, 5), replace=False).tolist())) for _ in range(40)]
    task = ask(answers, 9)
    found = answer(task, vectors, labels, block_mib=1).metrics(task)["map_values"]
    true = np.zeros((40, 9))
    for row, own in enumerate(answers):
        true[row, list(own)] = 1
    scores = vectors @ labels.T
    each = [label_ranking_average_precision_score(true[row : row + 1], scores[row : row + 1]) for row in range(40)]
    assert found == pytest.approx(each)


def test_credit_by_depth_is_given_for_leaves_alone() -> None:
    paths = (("A", "B"), ("A", "C"), ("D", "E"))
    task = ask([(0,), (0,), (0,)], 3, paths)
    found = answer(task, *scored([[0.9, 0, 0], [0, 0.9, 0], [0, 0, 0.9]]), block_mib=1)
    assert found.metrics(task)["hierarchical"].tolist() == [1.0, 0.5, 0.0]
    assert "hierarchical" not in found.metrics(replace(task, paths=()))


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_blocks_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    vectors, labels = generator.integers(-2, 3, (20, 4)).astype(float), generator.integers(-2, 3, (6, 4)).astype(float)
    task = ask([(int(own),) for own in generator.integers(0, 6, 20)], 6)
    whole = answer(task, vectors, labels, block_mib=64)
    monkeypatch.setattr(
        "validation.benchmark.label_answers._blocks",
        lambda num_items, num_labels, block_mib: (slice(at, at + rows) for at in range(0, num_items, rows)),
    )
    parts = answer(task, vectors, labels, block_mib=64)
    assert np.array_equal(parts.best, whole.best)
    assert np.array_equal(parts.given, whole.given)


def test_a_vector_that_is_not_finite_is_refused_by_name() -> None:
    items, labels = scored([[np.nan, 0.1]])
    with pytest.raises(ModelError, match=r"attribute\.x"):
        answer(ask([(0,)], 2), items, labels, block_mib=1)


def test_majority_gives_the_same_label_to_all() -> None:
    task = ask([(0,), (1,)], 2)
    assert majority_answer(task).metrics(task)["accuracy"].tolist() == [1.0, 0.0]
