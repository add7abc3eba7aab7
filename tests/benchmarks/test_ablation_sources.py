"""The code that a result stands on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from benchmarks.ablation.sources import source_digest


def test_a_change_anywhere_below_a_package_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "some_package" / "below"
    folder.mkdir(parents=True)
    for place in (folder.parent, folder):
        (place / "__init__.py").write_text("")
    (folder / "deep.py").write_text("x = 1\n")
    (tmp_path / "single_module.py").write_text("y = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    package, module = (importlib.import_module(name) for name in ("some_package", "single_module"))

    def digests() -> list[str]:
        source_digest.cache_clear()
        return [source_digest(package), source_digest(module), source_digest(package, module)]

    first = digests()
    assert digests() == first
    (folder / "deep.py").write_text("x = 2\n")
    second = digests()
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, True, False]
    source_digest.cache_clear()
    for name in ("some_package", "single_module"):
        sys.modules.pop(name, None)
