"""A place for fetched weights that is the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOON_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"
