"""How many processes detect side by side: no network of gigabytes is loaded once for every core."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from models.regions import AgreementConfig, ChooserConfig, RegionsConfig, building, detection_processes


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("backend", "expected"), [("saliency", 8), ("yolo", 8), ("none", 8), ("open_vocabulary", 1), ("grounding", 1)]
)
def test_small_detectors_take_a_core_each_and_large_ones_run_alone(backend: Any, expected: int) -> None:
    assert detection_processes(RegionsConfig(backend=backend)) == expected


def test_a_large_encoder_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(100))
    cfg = RegionsConfig(chooser=ChooserConfig(kind="encoder", encoder=AgreementConfig(folder=str(tmp_path))))
    assert detection_processes(cfg) == 8
    monkeypatch.setattr(building, "_LARGE_BYTES", 99)
    assert detection_processes(cfg) == 1
    assert detection_processes(cfg.model_copy(update={"backend": "none"})) == 8


def test_a_system_that_tells_no_affinity_is_asked_for_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert detection_processes(RegionsConfig()) == 6
