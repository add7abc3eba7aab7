"""Top-k in blocks against a stable sort of the full matrix, and against faiss."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.errors import BenchmarkError
from validation.search import ranks_of_relevant, tiles, top_k

TYPES = ["float32", "float16", "bfloat16"]


def unit(rng: np.random.Generator, rows: int, dims: int) -> np.ndarray:
    out = rng.standard_normal((rows, dims)).astype(np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def typed(vectors: np.ndarray, kind: str) -> np.ndarray | torch.Tensor:
    return torch.from_numpy(vectors).bfloat16() if kind == "bfloat16" else vectors.astype(kind)


def as_float64(vectors: np.ndarray | torch.Tensor) -> np.ndarray:
    return torch.as_tensor(vectors).double().numpy()


def naive(queries: np.ndarray, candidates: np.ndarray, k: int, excluded: list[list[int]]) -> np.ndarray:
    """A stable sort of the full matrix."""
    scores = as_float64(queries) @ as_float64(candidates).T
    for row, out in enumerate(excluded):
        scores[row, out] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@st.composite
def tied_cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, list[list[int]]]:
    """Small whole numbers, whose sums are exact in every type: many ties; some pairs excluded."""
    dims, pool, asked = draw(st.integers(1, 3)), draw(st.integers(1, 24)), draw(st.integers(1, 7))
    numbers = st.integers(-2, 2)
    candidates = draw(st.lists(st.lists(numbers, min_size=dims, max_size=dims), min_size=pool, max_size=pool))
    queries = draw(st.lists(st.lists(numbers, min_size=dims, max_size=dims), min_size=asked, max_size=asked))
    out = [draw(st.lists(st.integers(0, pool - 1), max_size=pool - 1)) for _ in range(asked)]
    k = draw(st.integers(1, pool - max(len(set(one)) for one in out)))
    return np.array(queries, dtype=np.float32), np.array(candidates, dtype=np.float32), k, out


@settings(max_examples=80, deadline=None)
@given(tied_cases(), st.integers(1, 4000), st.sampled_from(TYPES), st.sampled_from(TYPES))
def test_ties_stand_in_the_candidates_order_for_every_block_and_type(case, block: int, left: str, right: str) -> None:
    queries, candidates, k, excluded = case
    found = top_k(typed(queries, left), typed(candidates, right), k, excluded=excluded, block_mib=block / 2**20)
    expected = naive(queries, candidates, k, excluded)
    assert (found.indices == expected).all()
    assert (found.scores == np.take_along_axis(as_float64(queries) @ candidates.T, expected, axis=1)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.005, 1.0), st.sampled_from(TYPES), st.integers(1, 40))
def test_every_block_gives_the_full_matrix_of_floats(seed: int, block_mib: float, kind: str, k: int) -> None:
    rng = np.random.default_rng(seed)
    queries, candidates = typed(unit(rng, 33, 24), kind), typed(unit(rng, 300, 24), kind)
    found = top_k(queries, candidates, k, block_mib=block_mib)
    whole = top_k(queries, candidates, k)
    assert (found.indices == naive(queries, candidates, k, [[]] * 33)).all()
    assert (found.indices == whole.indices).all()
    assert (found.scores == whole.scores).all()


@pytest.mark.parametrize("block_mib", [0.01, 0.1, 1.0, 64.0])
def test_copies_of_a_vector_stand_in_order_wherever_the_blocks_cut(block_mib: float) -> None:
    rng = np.random.default_rng(4)
    few = unit(rng, 7, 64)
    candidates = few[rng.integers(0, 7, size=3000)]
    found = top_k(few, candidates, 50, block_mib=block_mib).indices
    for query, row in enumerate(found):
        same = np.flatnonzero((candidates == few[query]).all(axis=1))
        assert row.tolist() == same[:50].tolist()


def test_a_collapsed_encoder_gets_the_first_candidates_that_are_not_excluded() -> None:
    same = np.full((5000, 48), 48**-0.5, dtype=np.float32)
    found = top_k(same[:600], same, 3, excluded=[[0, 2]] * 300 + [[]] * 300).indices
    assert found[:300].tolist() == [[1, 3, 4]] * 300
    assert found[300:].tolist() == [[0, 1, 2]] * 300


def test_scores_closer_than_float32_can_tell_are_told_apart() -> None:
    """The second differs by less than float32 shows in a sum near one; float64 knows which is the better."""
    base = np.zeros((1, 512), dtype=np.float32)
    base[0, :2] = (1.0, 1e-5)
    candidates = np.zeros((2000, 512), dtype=np.float32)
    candidates[:, 0] = 1.0
    candidates[:, 1] = np.linspace(0, 1e-5, 2000, dtype=np.float32)
    assert top_k(base, candidates, 5).indices.tolist() == [[1999, 1998, 1997, 1996, 1995]]


def test_finds_what_faiss_finds() -> None:
    import faiss

    rng = np.random.default_rng(5)
    queries, candidates = unit(rng, 700, 32), unit(rng, 20_000, 32)
    index = faiss.IndexFlatIP(32)
    index.add(candidates)
    scores, expected = index.search(queries, 10)
    found = top_k(queries, candidates, 10)
    assert found.scores == pytest.approx(scores, abs=2e-6)
    # faiss sums in float32, and may swap neighbours that it cannot tell apart.
    swapped = found.indices != expected
    assert swapped.mean() < 1e-3
    assert np.abs(found.scores - scores)[swapped].max(initial=0.0) < 2e-6


def test_an_anchor_never_finds_itself() -> None:
    vectors = unit(np.random.default_rng(6), 200, 16)
    found = top_k(vectors, vectors, 4, excluded=[[row] for row in range(200)], block_mib=0.05).indices
    assert not (found == np.arange(200)[:, None]).any()
    assert (found == naive(vectors, vectors, 4, [[row] for row in range(200)])).all()


def test_reads_candidates_that_stay_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    queries, candidates = unit(rng, 9, 16), unit(rng, 500, 16).astype(np.float16)
    np.save(tmp_path / "candidates.npy", candidates)
    mapped = np.load(tmp_path / "candidates.npy", mmap_mode="r")
    assert (top_k(queries, mapped, 5).indices == naive(queries, candidates, 5, [[]] * 9)).all()


def test_progress_ends_at_all_scores_and_never_falls() -> None:
    vectors = unit(np.random.default_rng(8), 60, 8)
    told: list[tuple[int, int]] = []
    top_k(vectors, vectors, 1, block_mib=0.01, progress=lambda done, total: told.append((done, total)))
    assert len(told) > 3
    assert told == sorted(told)
    assert told[-1] == (3600, 3600)
    assert {total for _, total in told} == {3600}


def test_many_threads_and_one_find_the_same_and_leave_torch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    queries, candidates = unit(rng, 1100, 16), unit(rng, 3000, 16)
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    alone = top_k(queries, candidates, 6)
    monkeypatch.setattr(tiles, "_WORTH_THREADS", 0)
    torch.set_num_threads(4)
    try:
        together = top_k(queries, candidates, 6)
        assert torch.get_num_threads() == 4
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert seen == [4]
    finally:
        torch.set_num_threads(before[0])
    assert (alone.indices == together.indices).all()
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


@pytest.fixture
def precision() -> Iterator[None]:
    """Puts back what a test sets."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("precision")
def test_low_precision_and_autocast_of_the_caller_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(10)
    queries, candidates = unit(rng, 40, 64), unit(rng, 900, 64)
    torch.set_float32_matmul_precision("medium")
    of_blocks = []
    hide = tiles._hide
    monkeypatch.setattr(
        tiles,
        "_hide",
        lambda *given: (of_blocks.append(torch.backends.mkldnn.matmul.fp32_precision), hide(*given))[1],
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = top_k(queries, candidates, 10).indices
    assert set(of_blocks) == {"ieee"}
    assert torch.get_float32_matmul_precision() == "medium"
    assert (found == naive(queries, candidates, 10, [[]] * 40)).all()


def test_a_precision_set_for_one_backend_is_put_back() -> None:
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    vectors = np.eye(3, dtype=np.float32)
    try:
        matmul.fp32_precision = "bf16"
        assert top_k(vectors, vectors, 1).indices[:, 0].tolist() == [0, 1, 2]
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


@pytest.mark.parametrize(
    ("budget", "dims", "queries", "candidates"),
    [(1, 8, 9, 9), (1 << 20, 64, 10**4, 10**6), (64 << 20, 4096, 10, 10**6)],
)
def test_a_tile_fits_its_budget_or_is_one_score(budget: int, dims: int, queries: int, candidates: int) -> None:
    rows, columns = tiles.tile_shape(queries, candidates, dims, budget, "cpu")
    assert 1 <= rows <= queries
    assert 1 <= columns <= candidates
    assert rows * columns * 16 + (rows + columns) * dims * 16 <= budget or rows == columns == 1


@pytest.mark.parametrize(("k", "excluded"), [(4, None), (0, None), (3, [[], [1]])])
def test_a_pool_smaller_than_k_is_refused_with_the_most_that_may_be_asked(k: int, excluded: list | None) -> None:
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(BenchmarkError, match=r"k from 1 to (2|3)"):
        top_k(vectors[:2], vectors, k, excluded=excluded)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("side", ["queries", "candidates"])
def test_vectors_that_are_no_numbers_are_refused_by_row(bad: float, side: str) -> None:
    good = np.eye(5, dtype=np.float32)
    broken = good.copy()
    broken[3, 2] = bad
    queries, candidates = (broken, good) if side == "queries" else (good, broken)
    with pytest.raises(ValueError, match=f"{side}: row 3 .*not a finite number"):
        top_k(queries, candidates, 2)


def test_long_vectors_whose_scores_would_overflow_are_refused() -> None:
    with pytest.raises(ValueError, match="normalise"):
        top_k(np.full((1, 2), 1e19, dtype=np.float32), np.full((3, 2), 1e19, dtype=np.float32), 1)


def test_what_does_not_fit_is_refused_in_words() -> None:
    good = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="3 wide and candidates 2"):
        top_k(good, good[:, :2], 1)
    with pytest.raises(ValueError, match="queries: got shape"):
        top_k(good[:0], good, 1)
    with pytest.raises(ValueError, match="candidates: got shape"):
        top_k(good, good[0], 1)
    with pytest.raises(ValueError, match="got float64"):
        top_k(good.astype(np.float64), good, 1)
    with pytest.raises(ValueError, match="3 queries but 1 lists"):
        top_k(good, good, 1, excluded=[[]])
    with pytest.raises(ValueError, match="query 1: excluded candidate 7"):
        top_k(good, good, 1, excluded=[[], [7], []])
    with pytest.raises(ValueError, match="device: got 'gpu'"):
        top_k(good, good, 1, device="gpu")
    with pytest.raises(ValueError, match="block_mib"):
        top_k(good, good, 1, block_mib=0)


def test_a_gpu_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    good = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="no GPU here"):
        top_k(good, good, 1, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("kind", TYPES)
def test_the_gpu_finds_what_the_processor_finds(kind: str) -> None:
    rng = np.random.default_rng(16)
    queries, candidates = typed(unit(rng, 600, 96), kind), typed(unit(rng, 20_000, 96), kind)
    excluded = [[row] for row in range(600)]
    on_gpu, on_cpu = (top_k(queries, candidates, 20, excluded=excluded, device=one) for one in ("cuda", "cpu"))
    assert (on_gpu.indices == on_cpu.indices).all()
    assert (on_gpu.scores == on_cpu.scores).all()
    relevant = [rng.choice(20_000, size=rng.integers(1, 9), replace=False).tolist() for _ in range(600)]
    found = (ranks_of_relevant(queries, candidates, relevant, device=one) for one in ("cuda", "cpu"))
    assert all((left == right).all() for left, right in zip(*found, strict=True))
