"""Ranking and label metrics against libraries that see whole scored lists, and against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, ndcg_score, precision_score, recall_score
from torchmetrics.functional import retrieval as library

from validation.benchmark.metrics import credit_by_depth, lower_is_better, macro_scores, ranking_metrics

KS = (1, 3, 10)


def ranks_of(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Ranks when every tie is broken against the encoder, by sorting."""
    order = np.lexsort((right, -scores))
    return np.flatnonzero(right[order]) + 1


def broken_ties(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Distinct scores in the order of `ranks_of`, for libraries that know no tie rule of ours."""
    distinct = np.empty(len(scores))
    distinct[np.lexsort((right, -scores))] = np.linspace(1.0, 0.1, len(scores))
    return distinct


@st.composite
def queries(draw):
    size = draw(st.integers(2, 40))
    levels = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, size) / levels
    right = np.zeros(size, dtype=bool)
    right[generator.choice(size, draw(st.integers(1, size)), replace=False)] = True
    return scores, right


@settings(max_examples=150)
@given(queries())
def test_every_ranking_metric_equals_torchmetrics_with_ties_and_several_positives(case) -> None:
    scores, right = case
    ours = {name: float(own[0]) for name, own in ranking_metrics([ranks_of(scores, right)], KS).items()}
    preds, target = torch.from_numpy(broken_ties(scores, right)), torch.from_numpy(right)
    assert ours["mrr"] == pytest.approx(float(library.retrieval_reciprocal_rank(preds, target)))
    assert ours["map"] == pytest.approx(float(library.retrieval_average_precision(preds, target)))
    for k in KS:
        assert ours[f"recall@{k}"] == pytest.approx(float(library.retrieval_hit_rate(preds, target, top_k=k)))
        assert ours[f"recall_all@{k}"] == pytest.approx(float(library.retrieval_recall(preds, target, top_k=k)))
        assert ours[f"ndcg@{k}"] == pytest.approx(
            float(library.retrieval_normalized_dcg(preds, target, top_k=k)), abs=1e-5
        )


@settings(max_examples=100)
@given(queries())
def test_average_precision_and_ndcg_equal_sklearn(case) -> None:
    scores, right = case
    ours = ranking_metrics([ranks_of(scores, right)], KS)
    distinct = broken_ties(scores, right)
    assert ours["map"][0] == pytest.approx(average_precision_score(right, distinct))
    for k in KS:
        assert ours[f"ndcg@{k}"][0] == pytest.approx(ndcg_score([right.astype(float)], [distinct], k=k))


def test_mean_rank_is_the_rank_of_the_first_right_one_and_the_only_metric_that_is_better_when_lower() -> None:
    found = ranking_metrics([np.array([3, 4]), np.array([1])], (1,))
    assert found["mean_rank"].tolist() == [3.0, 1.0]
    assert [name for name in found if lower_is_better(f"image_to_product/{name}")] == ["mean_rank"]
    assert lower_is_better("text_to_image/mean_rank[category=Home]")
    assert lower_is_better("text_to_image/mean_rank[category=Bags/Luggage]")
    assert not lower_is_better("mean_rank_of/recall@1")


@settings(max_examples=100)
@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 2**32 - 1), st.booleans())
def test_macro_scores_equal_sklearns_means_over_labels(n: int, classes: int, seed: int, single: bool) -> None:
    generator = np.random.default_rng(seed)
    if single:
        truth, guess = generator.integers(0, classes, (2, n))
        true, found = np.eye(classes, dtype=bool)[truth], np.eye(classes, dtype=bool)[guess]
    else:
        true, found = generator.random((2, n, classes)) < 0.4
    present = true.any(axis=0)
    if not present.any():
        return
    true, found = true[:, present], found[:, present]
    ours = macro_scores(true, found)
    columns = range(true.shape[1])
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        each = [score(true[:, c], found[:, c], zero_division=0.0) for c in columns]
        assert ours[f"{name}_macro"] == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("predicted", "right", "credit"),
    [
        ("Women Tops Tees", "Women Tops Tees", 1.0),
        ("Women Tops Bras", "Women Tops Tees", 2 / 3),
        ("Women Bags", "Women Tops Tees", 1 / 3),
        ("Men Tops Tees", "Women Tops Tees", 0.0),
        ("Women", "Women Tops", 0.5),
        ("Women Tops Tees", "Women", 1.0),
    ],
)
def test_credit_goes_as_deep_as_the_paths_agree(predicted: str, right: str, credit: float) -> None:
    assert credit_by_depth(predicted.split(), right.split()) == pytest.approx(credit)
