"""Which leaf is answered for which, counted by hand and by sklearn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from tests.benchmark.encoders import Oracle
from validation.benchmark import BenchmarkRecord, Confusion, EvalSet, LabelTask, run_benchmark
from validation.benchmark.confusion import Confusions, confusions
from validation.benchmark.label_answers import LabelAnswers
from validation.benchmark.metrics import NO_ANSWER
from validation.config import BenchmarkConfig
from validation.rivals import ColourHistogram, RandomVectors

PATHS = (("A", "B", "x"), ("A", "B", "y"), ("A", "C", "x"), ("D",), ("E",))


def question(right: list[int]) -> LabelTask:
    return LabelTask(
        name="category_leaf",
        family="category",
        items=tuple(range(len(right))),
        labels=tuple(" > ".join(path) for path in PATHS),
        answers=tuple((own,) for own in right),
        majority=0,
        hide=frozenset(),
        traits=((),) * len(right),
        paths=PATHS,
    )


def given(best: list[int]) -> LabelAnswers:
    return LabelAnswers(np.array(best), np.array(best)[:, None])


def test_mistakes_are_counted_and_siblings_told_from_others() -> None:
    found = confusions(question([0, 0, 0, 1, 2, 3, 4, 0]), given([1, 1, 2, 1, 0, 4, NO_ANSWER, 0]))
    assert found == Confusions(
        task="category_leaf",
        n=8,
        wrong=5,
        wrong_sibling=2,
        unanswered=1,
        num_pairs=4,
        pairs=(
            Confusion("A > B > x", "A > B > y", 2, True),
            Confusion("A > B > x", "A > C > x", 1, False),
            Confusion("A > C > x", "A > B > x", 1, False),
            Confusion("D", "E", 1, False),
        ),
    )


def test_counts_are_those_of_a_confusion_matrix() -> None:
    generator = np.random.default_rng(0)
    right, best = generator.integers(0, 5, size=(2, 400)).tolist()
    found = confusions(question(right), given(best))
    matrix = confusion_matrix(right, best, labels=range(5))
    labels = question(right).labels
    assert {(pair.right, pair.given): pair.count for pair in found.pairs} == {
        (labels[row], labels[column]): matrix[row, column]
        for row in range(5)
        for column in range(5)
        if row != column and matrix[row, column]
    }
    assert found.wrong == matrix.sum() - np.trace(matrix)
    assert [pair.count for pair in found.pairs] == sorted((pair.count for pair in found.pairs), reverse=True)


def test_many_pairs_are_cut_for_siblings_and_others_alike_while_the_totals_stay() -> None:
    found = confusions(question([0, 0, 0, 1, 2, 3]), given([2, 2, 1, 0, 3, 4]), most=1)
    assert found.pairs == (Confusion("A > B > x", "A > C > x", 2, False), Confusion("A > B > x", "A > B > y", 1, True))
    assert (found.wrong, found.wrong_sibling, found.num_pairs) == (6, 2, 5)


def test_a_record_holds_the_leaf_task_with_the_title_shown_and_hidden_and_gives_it_back(
    eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    record = run_benchmark(RandomVectors(), eval_set, config)
    assert [own.task for own in record.confusions] == ["category_leaf", "category_leaf_title_hidden"]
    for own in record.confusions:
        accuracy = record.scores[f"{own.task}/accuracy"]
        assert own.n == accuracy.n
        assert own.n - own.wrong - own.unanswered == pytest.approx(accuracy.value * accuracy.n)
    assert BenchmarkRecord.from_dict(json.loads(record.to_json())) == record


def test_a_record_written_before_confusions_were_kept_is_read(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    data = run_benchmark(RandomVectors(), eval_set, config).to_dict()
    del data["confusions"]
    assert BenchmarkRecord.from_dict(data).confusions == ()


def test_who_knows_every_leaf_confuses_none_and_who_reads_no_words_is_not_asked(
    eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    def leaf(item, hide) -> str:
        return " > ".join(item.product.category)

    task = next(own for own in eval_set.labels if own.name == "category_leaf")
    path_of = dict(zip(task.labels, task.paths, strict=True))
    oracle = Oracle(leaf, of_label=lambda text: " > ".join(path_of.get(text, (text,))))
    record = run_benchmark(oracle, eval_set.only(["category_leaf"]), config)
    assert [(own.wrong, own.unanswered, own.pairs) for own in record.confusions] == [(0, 0, ())]
    assert run_benchmark(ColourHistogram(), eval_set, config).confusions == ()
