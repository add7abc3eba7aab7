"""Intervals of many means at once are those of each alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import f1_score, precision_score, recall_score

from validation.benchmark.columns import Columns
from validation.config import BenchmarkConfig
from validation.statistics import cluster_interval
from validation.statistics.intervals import resamples

CFG = BenchmarkConfig(num_bootstrap=300, seed=3)
HOW = {"num_bootstrap": 300, "confidence": 0.95, "seed": 3}


def _items(seed: int = 0) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(seed)
    return generator.random((60, 3)), [f"g{number}" for number in generator.integers(0, 17, 60)]


def test_a_whole_task_gets_the_cluster_interval_of_each_metric() -> None:
    table, groups = _items()
    values = {"recall@1": (table[:, 0] > 0.4).astype(float), "mrr": table[:, 1]}
    for metric, score in Columns(groups, CFG).scores(values, 9).items():
        assert (score.low, score.high) == pytest.approx(cluster_interval(values[metric], groups, **HOW))
        assert (score.n, score.pool, score.num_groups) == (60, 9, len(set(groups)))
        assert score.value == pytest.approx(values[metric].mean())


def test_a_slice_is_resampled_with_the_groups_of_the_whole() -> None:
    table, groups = _items(1)
    values, mask = table[:, 0], table[:, 2] > 0.7
    score = Columns(groups, CFG).slices({"mrr": values}, 9, {"a": mask, "b": ~mask})["a"]["mrr"]
    names = sorted(set(groups))
    drawn = []
    for block in resamples(len(names), CFG.num_bootstrap, CFG.seed):
        for weights in block:
            times = np.array([weights[names.index(group)] for group in groups]) * mask
            if times.sum():
                drawn.append(np.average(values, weights=times))
    assert (score.low, score.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert score.n == mask.sum()


def test_resamples_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resamples(13, 50, 5)))
    monkeypatch.setattr("validation.statistics.intervals._WEIGHTS_A_BLOCK", 13 * 7)
    assert np.array_equal(np.concatenate(list(resamples(13, 50, 5))), whole)


def test_macro_scores_are_counted_anew_in_each_resample() -> None:
    generator = np.random.default_rng(2)
    truth, guess = generator.integers(0, 4, (2, 60))
    groups = [f"g{number}" for number in generator.integers(0, 15, 60)]
    true, given = np.eye(4, dtype=bool)[truth], np.eye(4, dtype=bool)[guess]
    found = Columns(groups, CFG).macro_scores(csr_matrix(true), csr_matrix(given))
    names = sorted(set(groups))
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        drawn = []
        for block in resamples(len(names), CFG.num_bootstrap, CFG.seed):
            for weights in block:
                times = np.array([weights[names.index(group)] for group in groups])
                there = sorted({int(label) for label, count in zip(truth, times, strict=True) if count})
                how = {"labels": there, "average": None, "zero_division": 0.0, "sample_weight": times}
                drawn.append(np.mean(score(truth, guess, **how)))
        value, ends = found[f"{name}_macro"]
        assert ends == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
        assert value == pytest.approx(score(truth, guess, average="macro", zero_division=0.0))


def test_what_is_the_same_for_every_item_gets_an_interval_that_knows_how_few_groups_there_are() -> None:
    ones = np.ones(20)
    found = Columns([f"g{number % 5}" for number in range(20)], CFG).scores(
        {"recall@1": ones, "ndcg@3": 0 * ones, "mean_rank": ones}, 9
    )
    assert (found["recall@1"].high, found["ndcg@3"].low, found["mean_rank"].low) == (1.0, 0.0, 1.0)
    assert found["recall@1"].low < 0.6
    assert found["ndcg@3"].high > 0.4
    assert found["mean_rank"].high > 1.4


def test_one_group_alone_is_never_sure_of_anything() -> None:
    """Its resamples are all itself: the bootstrap's interval has no width."""
    found = Columns(["g"] * 4, CFG).scores(
        {"mrr": np.array([1.0, 0.5, 0.5, 0.0]), "mean_rank": np.array([1.0, 2.0, 2.0, 7.0])}, 9
    )
    assert (found["mrr"].low, found["mrr"].high) == (0.0, 1.0)
    assert found["mean_rank"].low == 1.0
    assert found["mean_rank"].high > 5.0


def test_a_slice_of_one_group_has_an_interval_though_many_resamples_hold_none_of_it() -> None:
    table, groups = _items(5)
    mask = np.array([group == groups[0] for group in groups])
    score = Columns(groups, CFG).slices({"mrr": table[:, 0]}, 9, {"one": mask})["one"]["mrr"]
    assert score.num_groups == 1
    assert score.n == mask.sum()
    assert 0.0 <= score.low < score.value < score.high <= 1.0
    two = sorted(set(groups))[:2]
    ranks = np.where([group == two[0] for group in groups], 1.0, 9.0)
    mask = np.array([group in two for group in groups])
    cut = Columns(groups, CFG).slices({"mean_rank": ranks}, 9, {"two": mask})["two"]["mean_rank"]
    assert (cut.low, cut.high) == (1.0, 9.0), "one of the two alone in many a resample"


def test_a_label_that_fell_out_of_a_resample_is_not_asked_in_it() -> None:
    """Ten groups: nine right about the first label; the second is one group's, and never given."""
    truth, guess = np.array([0] * 9 + [1]), np.zeros(10, dtype=int)
    groups = [f"g{number}" for number in range(10)]
    true, given = (csr_matrix(np.eye(2, dtype=int)[own]) for own in (truth, guess))
    found = Columns(groups, CFG).macro_scores(true, given)
    low, high = found["precision_macro"][1]
    # Without the second label precision is 1: it is gone from a third of the resamples.
    assert high == 1.0
    assert low < 0.5
    assert found["recall_macro"] == (0.5, (0.5, 1.0))


def test_more_slices_than_are_resampled_at_once_are_each_that_slice_alone() -> None:
    table, groups = _items(4)
    columns, values = Columns(groups, CFG), {"mrr": table[:, 0], "mean_rank": 1.0 + 9.0 * table[:, 1]}
    masks = {str(number): np.arange(60) % 40 == number for number in range(40)}
    for name, found in columns.slices(values, 9, masks).items():
        assert found == columns.slices(values, 9, {name: masks[name]})[name]
