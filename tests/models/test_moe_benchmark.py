"""The speed benchmark runs, and its arms are the same function; what it measures is not asserted."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from benchmarks import moe


@pytest.fixture(autouse=True)
def _same_threads() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_tiny_run_writes_every_arm_and_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "moe.json"
    size = ["--sizes", "16/32", "--tokens", "64", "--experts", "4"]
    moe.main([*size, "--rounds", "2", "--warmup", "1", "--threads", "1", "--out", str(out)])
    (found,) = json.loads(out.read_text(encoding="utf-8"))["sizes"]
    assert {"ours", "dense", "masked", "mixtral eager", "mixtral grouped_mm"} <= set(found["arms"])
    assert set(found["over_dense"]) == set(found["arms"]) - {"dense"}
    assert found["largest_difference"] < 1e-5
    assert [bar["what"].split(" /")[0] for bar in found["bars"]] == ["masked", "ours"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in found["arms"])


def test_arms_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moe, "masked", lambda layer, h_BLD: 1.01 * h_BLD)
    given = argparse.Namespace(tokens=64, experts=4, top_k=2, rounds=1, warmup=0, threads=1)
    with pytest.raises(SystemExit, match="disagree"):
        moe.arms_of(16, 32, given)


def test_a_ratio_compares_rounds_that_both_arms_ran() -> None:
    found = moe.ratio({0: 4.0, 3: 9.0}, {0: 2.0, 1: 1.0, 2: 1.0, 3: 3.0})
    assert found["median"] == pytest.approx(2.5)
    assert found["min"] == pytest.approx(4.0)
