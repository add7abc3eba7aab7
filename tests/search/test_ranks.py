"""Ranks against a naive loop and against libraries."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, top_k_accuracy_score

from catalog.labels import TIE_TOLERANCE
from validation.search import ranks, ranks_of_relevant, tiles


def unit(rng: np.random.Generator, rows: int, dims: int) -> np.ndarray:
    out = rng.standard_normal((rows, dims)).astype(np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def ranks_of_best(
    queries: np.ndarray, candidates: np.ndarray, relevant: list[list[int]], block_bytes: int = 64 << 20
) -> np.ndarray:
    found = ranks_of_relevant(queries, candidates, relevant, block_mib=block_bytes / 2**20)
    return np.array([of_query[0] for of_query in found])


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
    found = ranks_of_best(queries, candidates, [[int(index)] for index in truth])
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(truth, queries @ candidates.T, k=k, labels=np.arange(30))
        assert np.mean(found <= k) == pytest.approx(expected)


def test_reciprocal_rank_equals_sklearn_for_one_positive() -> None:
    rng = np.random.default_rng(2)
    queries, candidates = unit(rng, 40, 8), unit(rng, 25, 8)
    truth = rng.integers(0, 25, size=40)
    found = ranks_of_best(queries, candidates, [[int(index)] for index in truth])
    expected = label_ranking_average_precision_score(np.eye(25)[truth], queries @ candidates.T)
    assert np.mean(1.0 / found) == pytest.approx(expected)


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


def naive_ranks(scores: np.ndarray, relevant: list[int], excluded: list[int]) -> list[int]:
    """One query's ranks, by counting in a plain loop over float64 scores."""
    others = [index for index in range(len(scores)) if index not in relevant and index not in excluded]
    own = sorted((scores[index] for index in set(relevant)), reverse=True)
    return [
        place + sum(scores[other] >= score - TIE_TOLERANCE for other in others) for place, score in enumerate(own, 1)
    ]


def typed(vectors: np.ndarray, kind: str) -> np.ndarray | torch.Tensor:
    return torch.from_numpy(vectors).bfloat16() if kind == "bfloat16" else vectors.astype(kind)


def as_float64(vectors: np.ndarray | torch.Tensor) -> np.ndarray:
    return torch.as_tensor(vectors).double().numpy()


@pytest.fixture(params=["few", "many"])
def many_relevant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of counting: a comparison for each threshold, and bins."""
    if request.param == "many":
        monkeypatch.setattr(ranks, "_MANY_RELEVANT", 0)


@pytest.mark.usefixtures("many_relevant")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tied_cases(), st.integers(1, 4000), st.sampled_from(["float32", "float16", "bfloat16"]), st.data())
def test_all_ranks_equal_a_naive_loop_for_every_block_and_type(
    case, block: int, kind: str, data: st.DataObject
) -> None:
    queries, candidates, relevant = case
    free = [[index for index in range(len(candidates)) if index not in own] for own in relevant]
    excluded = [data.draw(st.lists(st.sampled_from(left), max_size=4)) if left else [] for left in free]
    found = ranks_of_relevant(
        typed(queries, kind), typed(candidates, kind), relevant, excluded=excluded, block_mib=block / 2**20
    )
    scores = queries.astype(np.float64) @ candidates.T
    for of_query, row, own, out in zip(found, scores, relevant, excluded, strict=True):
        assert of_query.tolist() == naive_ranks(row, own, out)


@pytest.mark.usefixtures("many_relevant")
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("block_mib", [0.02, 0.3, 64.0])
def test_ranks_of_floats_are_those_of_float64_scores_for_every_block(kind: str, block_mib: float) -> None:
    rng = np.random.default_rng(11)
    queries, candidates = typed(unit(rng, 70, 48), kind), typed(unit(rng, 900, 48), kind)
    relevant = [rng.choice(900, size=rng.integers(1, 30), replace=False).tolist() for _ in range(70)]
    excluded = [[index for index in rng.integers(0, 900, 5).tolist() if index not in own] for own in relevant]
    found = ranks_of_relevant(queries, candidates, relevant, excluded=excluded, block_mib=block_mib)
    scores = as_float64(queries) @ as_float64(candidates).T
    for of_query, row, own, out in zip(found, scores, relevant, excluded, strict=True):
        assert of_query.tolist() == naive_ranks(row, own, out)


@pytest.mark.usefixtures("many_relevant")
@pytest.mark.parametrize("gap", [0.5 * TIE_TOLERANCE, 1.5 * TIE_TOLERANCE])
def test_the_tolerance_is_kept_where_float32_cannot_tell(gap: float) -> None:
    """3,000 candidates just below the right one: ties within the tolerance, and none beyond it."""
    dims = 512
    query = np.zeros((1, dims), dtype=np.float32)
    query[0, :2] = 1.0
    candidates = np.zeros((3001, dims), dtype=np.float32)
    candidates[:, 0], candidates[0, 1] = 0.75, np.float32(gap)
    expected = [3001] if gap < TIE_TOLERANCE else [1]
    assert ranks_of_relevant(query, candidates, [[0]])[0].tolist() == expected


@pytest.mark.usefixtures("many_relevant")
def test_a_constant_encoder_ranks_its_right_ones_behind_all_wrong_ones() -> None:
    same = np.full((3000, 37), 37**-0.5, dtype=np.float32)
    found = ranks_of_relevant(same[:600], same, [[5, 9, 2000]] * 600, excluded=[[0]] * 600)
    assert np.stack(found).tolist() == [[2997, 2998, 2999]] * 600


def test_an_identity_encoder_ranks_each_first() -> None:
    vectors = unit(np.random.default_rng(12), 800, 32)
    assert [one.tolist() for one in ranks_of_relevant(vectors, vectors, [[row] for row in range(800)])] == [[1]] * 800


def test_average_precision_of_the_ranks_is_that_of_sklearn() -> None:
    rng = np.random.default_rng(14)
    queries, candidates = unit(rng, 30, 8), unit(rng, 60, 8)
    relevant = [rng.choice(60, size=rng.integers(1, 9), replace=False).tolist() for _ in range(30)]
    scores = queries @ candidates.T
    for row, (own, of_query) in enumerate(zip(relevant, ranks_of_relevant(queries, candidates, relevant), strict=True)):
        truth = np.isin(np.arange(60), own)
        ours = np.mean(np.arange(1, len(of_query) + 1) / of_query)
        assert ours == pytest.approx(average_precision_score(truth, scores[row]))


def test_ranks_on_several_threads_are_those_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(15)
    queries, candidates = unit(rng, 1100, 16), unit(rng, 2500, 16)
    relevant = [rng.choice(2500, size=rng.integers(1, 4), replace=False).tolist() for _ in range(1100)]
    alone = ranks_of_relevant(queries, candidates, relevant)
    monkeypatch.setattr(tiles, "_WORTH_THREADS", 0)
    together = ranks_of_relevant(queries, candidates, relevant)
    assert all((left == right).all() for left, right in zip(alone, together, strict=True))


def test_what_cannot_be_ranked_is_refused_in_words() -> None:
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="query 1: candidate 2 is relevant and excluded"):
        ranks_of_relevant(vectors, vectors, [[0, 1], [2], [0]], excluded=[[], [0, 2], []])
    with pytest.raises(ValueError, match="relevant candidate 3 is none of 3"):
        ranks_of_relevant(vectors, vectors, [[0], [3], [1]])
    with pytest.raises(ValueError, match="relevant candidate -1"):
        ranks_of_relevant(vectors, vectors, [[0], [-1], [1]])
    with pytest.raises(ValueError, match="3 wide and candidates 2"):
        ranks_of_relevant(vectors, vectors[:, :2], [[0], [1], [1]])
    with pytest.raises(ValueError, match="3 queries but 2 lists of excluded"):
        ranks_of_relevant(vectors, vectors, [[0], [1], [1]], excluded=[[], []])
