"""Ranks against a naive loop and against libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

from validation.search import ranks_of_best


def unit(rng: np.random.Generator, rows: int, dims: int) -> np.ndarray:
    out = rng.standard_normal((rows, dims)).astype(np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def naive_rank(scores: list[float], relevant: list[int]) -> int:
    best = max(scores[index] for index in relevant)
    rank = 1
    for index, score in enumerate(scores):
        if index not in relevant and score >= best:
            rank += 1
    return rank


@st.composite
def tied_cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """Small integer vectors: many exact ties, several positives."""
    dims, pool, asked = draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 6))
    numbers = st.integers(-2, 2)
    candidates = draw(st.lists(st.lists(numbers, min_size=dims, max_size=dims), min_size=pool, max_size=pool))
    queries = draw(st.lists(st.lists(numbers, min_size=dims, max_size=dims), min_size=asked, max_size=asked))
    relevant = [draw(st.lists(st.integers(0, pool - 1), min_size=1, max_size=pool, unique=True)) for _ in range(asked)]
    return np.array(queries, dtype=np.float32), np.array(candidates, dtype=np.float32), relevant


@given(tied_cases(), st.integers(1, 200))
def test_equals_a_naive_loop_with_ties_and_several_positives(case, block_bytes: int) -> None:
    queries, candidates, relevant = case
    expected = [
        naive_rank([float(np.dot(query, candidate)) for candidate in candidates], own)
        for query, own in zip(queries, relevant, strict=True)
    ]
    assert ranks_of_best(queries, candidates, relevant, block_bytes=block_bytes).tolist() == expected


def test_recall_equals_sklearn_where_nothing_is_tied() -> None:
    rng = np.random.default_rng(1)
    queries, candidates = unit(rng, 50, 8), unit(rng, 30, 8)
    truth = rng.integers(0, 30, size=50)
    ranks = ranks_of_best(queries, candidates, [[int(index)] for index in truth])
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(truth, queries @ candidates.T, k=k, labels=np.arange(30))
        assert np.mean(ranks <= k) == pytest.approx(expected)


def test_reciprocal_rank_equals_sklearn_for_one_positive() -> None:
    rng = np.random.default_rng(2)
    queries, candidates = unit(rng, 40, 8), unit(rng, 25, 8)
    truth = rng.integers(0, 25, size=40)
    ranks = ranks_of_best(queries, candidates, [[int(index)] for index in truth])
    expected = label_ranking_average_precision_score(np.eye(25)[truth], queries @ candidates.T)
    assert np.mean(1.0 / ranks) == pytest.approx(expected)


@settings(max_examples=30)
@given(st.integers(2, 700), st.integers(1, 300))
def test_equal_vectors_are_always_tied(pool: int, dims: int) -> None:
    same = np.full((pool, dims), dims**-0.5, dtype=np.float32)
    assert ranks_of_best(same[:3], same, [[0]] * len(same[:3])).tolist() == [pool] * len(same[:3])


def test_another_positive_never_stands_in_the_way() -> None:
    candidates = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], dtype=np.float32)
    assert ranks_of_best(candidates[:1], candidates, [[0, 1]]).tolist() == [1]
    assert ranks_of_best(candidates[:1], candidates, [[1]]).tolist() == [2]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    vectors = np.eye(3, dtype=np.float32)
    vectors[1, 1] = bad
    with pytest.raises(ValueError, match="not a finite number"):
        ranks_of_best(np.eye(3, dtype=np.float32), vectors, [[0], [1], [2]])


def test_a_query_without_answer_and_a_wrong_count_are_refused() -> None:
    vectors = np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match="query 1 has no relevant"):
        ranks_of_best(vectors, vectors, [[0], []])
    with pytest.raises(ValueError, match="2 queries but 1"):
        ranks_of_best(vectors, vectors, [[0]])
