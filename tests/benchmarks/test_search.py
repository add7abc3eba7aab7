"""The arms of the search benchmark agree, its sums are right, and a tiny run writes what it found."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import search
from benchmarks.search import ARMS, MATMUL, RANKS, Worker, bare, compare, make_inputs, prepared, ratio, slope


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("search")
    make_inputs(place, 30, 700, 16)
    return place


def naive(folder: Path, k: int) -> np.ndarray:
    queries, candidates = (np.load(folder / f"{name}.npy").astype(np.float64) for name in ("queries", "candidates"))
    return np.argsort(-(queries @ candidates.T), axis=1, kind="stable")[:, :k]


def test_inputs_are_unit_vectors_and_no_two_alike(folder: Path) -> None:
    candidates = np.load(folder / "candidates.npy")
    assert candidates.dtype == np.float32
    assert np.linalg.norm(candidates, axis=1) == pytest.approx(np.ones(700), abs=1e-6)
    assert len(np.unique(candidates, axis=0)) == 700


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_finds_the_best(arm: str, folder: Path) -> None:
    found = prepared(arm, np.load(folder / "queries.npy"), np.load(folder / "candidates.npy"), 7)()
    assert found is not None
    assert (found[1] == naive(folder, 7)).all()


def test_bare_blocks_keep_the_best_across_their_edges(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BLOCK", (7, 33))
    found = bare(np.load(folder / "queries.npy"), np.load(folder / "candidates.npy"), 40)[1]
    assert (found == naive(folder, 40)).all()


def runs_of(**seconds: list[float]) -> dict[str, list[dict[str, float]]]:
    return {
        arm: [{"wall_s": one, "cpu_s": 2 * one, "above_inputs_gib": 0.5} for one in times]
        for arm, times in seconds.items()
    }


def test_a_ratio_is_the_median_of_rounds_and_not_the_ratio_of_medians() -> None:
    runs = runs_of(ours=[2.0, 3.0, 10.0], bare=[1.0, 2.0, 4.0])
    assert ratio(runs, "ours", "bare", "wall_s") == {"median": 2.0, "low": 1.5, "high": 2.5}


@pytest.mark.parametrize(("large", "exponent"), [(10.0, 1.0), (100.0, 2.0), (1.0, 0.0)])
def test_the_slope_of_a_power_is_its_exponent(large: float, exponent: float) -> None:
    sizes = [
        {"candidates": 1000, "runs": runs_of(ours=[1.0])},
        {"candidates": 10_000, "runs": runs_of(ours=[large])},
    ]
    assert slope(sizes, "wall_s") == pytest.approx(exponent)


def test_the_peer_of_the_bar_is_the_faster_one() -> None:
    size = {"runs": runs_of(ours=[1.0], bare=[0.7], faiss=[3.0], st=[0.95])}
    over_bare, over_peer = search.bars(size)
    assert (over_bare["what"], over_bare["met"]) == ("ours / bare", False)
    assert (over_peer["what"], over_peer["met"]) == ("ours / st", True)


def test_arms_that_disagree_end_the_run(tmp_path: Path) -> None:
    for arm in ARMS:
        np.savez(tmp_path / f"{arm}.npz", scores=np.ones((2, 2)), indices=np.zeros((2, 2)))
    assert compare(tmp_path)["st"] == {"other_candidate_frac": 0.0, "largest_score_difference": 0.0}
    np.savez(tmp_path / "faiss.npz", scores=np.ones((2, 2)) + 1e-3, indices=np.zeros((2, 2)))
    with pytest.raises(SystemExit, match="faiss and ours disagree"):
        compare(tmp_path)


def test_an_arm_answers_from_a_process_of_its_own(folder: Path) -> None:
    worker = Worker("ours", folder, argparse.Namespace(k=3, threads=1))
    try:
        told = worker.run(20, 500)
        assert told["wall_s"] > 0
        assert 0 <= told["above_inputs_gib"] < 1
        assert np.load(folder / "ours.npz")["indices"].shape == (20, 3)
    finally:
        worker.close()


class Here:
    """An arm in this process."""

    def __init__(self, arm: str, folder: Path, given: argparse.Namespace) -> None:
        self._arm, self._folder, self._k = arm, folder, given.k

    def run(self, queries: int, candidates: int) -> dict[str, float]:
        asked, pool = (np.load(self._folder / f"{name}.npy") for name in ("queries", "candidates"))
        found = prepared(self._arm, asked[:queries], pool[:candidates], self._k)()
        if found is not None:
            np.savez(self._folder / f"{self._arm}.npz", scores=found[0], indices=found[1])
        return {"wall_s": candidates / 1e3, "cpu_s": candidates / 1e3, "above_inputs_gib": 0.1}

    def close(self) -> None:
        pass


def test_a_tiny_run_prints_every_bar_and_writes_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search, "Worker", Here)
    sizes = ["--queries", "20", "--rank-queries", "5", "--candidates", "100", "1000", "--dims", "8", "--rounds", "2"]
    search.main([*sizes, "--k", "3", "--folder", str(tmp_path), "--out", str(tmp_path / "found.json")])
    printed = capsys.readouterr().out
    assert printed.count("bar: ours / bare") == printed.count("bar: memory above the inputs") == 2
    assert printed.count(f"{RANKS} / {MATMUL}") == 2
    assert "cost ~ candidates^1.00 (wall), ^1.00 (CPU)" in printed
    found = json.loads((tmp_path / "found.json").read_text())
    assert [size["candidates"] for size in found["sizes"]] == [100, 1000]
    assert all(len(size["runs"]["ours"]) == 2 for size in found["sizes"])
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_rounds_that_fit_no_size_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        search.main(["--candidates", "100", "200", "300", "--rounds", "1", "2"])
    assert "2 numbers for 3 sizes" in capsys.readouterr().err
