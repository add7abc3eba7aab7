"""Cache keys: which files a step stands on."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

import steps.code
from steps.code import LOCK_FILE, PROJECT_ROOT, ROOMS, cache_key, code_digest, code_files

CACHED = ("steps.validate_catalog", "steps.detect_regions", "steps.train_model", "steps.evaluate_mbe")


def names(module: str) -> set[str]:
    return {str(path.relative_to(steps.code.PROJECT_ROOT)) for path in code_files(module)}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for room in ROOMS:
        shutil.copytree(PROJECT_ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / LOCK_FILE).write_text("torch==1\n", encoding="utf-8")
    monkeypatch.setattr(steps.code, "PROJECT_ROOT", tmp_path)
    return tmp_path


def digests() -> dict[str, str]:
    return {module: code_digest(module) for module in CACHED}


def changed(before: dict[str, str]) -> set[str]:
    return {module for module, digest in digests().items() if digest != before[module]}


@pytest.mark.parametrize(
    ("path", "stale"),
    [
        ("models/losses/contrastive.py", {"steps.train_model"}),
        ("models/regions/saliency.py", {"steps.detect_regions", "steps.train_model", "steps.evaluate_mbe"}),
        ("validation/search/ranks.py", {"steps.train_model", "steps.evaluate_mbe"}),
        ("validation/data/suites.py", {"steps.validate_catalog"}),
        ("catalog/images.py", set(CACHED)),
        ("serving/service.py", set()),
        (LOCK_FILE, set(CACHED)),
    ],
)
def test_an_edit_makes_exactly_the_steps_stale_that_stand_on_it(copy: Path, path: str, stale: set[str]) -> None:
    before = digests()
    with (copy / path).open("a", encoding="utf-8") as stream:
        stream.write("\n# edited\n")
    assert stale <= changed(before)
    if path == "models/losses/contrastive.py":
        assert not changed(before) & {"steps.validate_catalog", "steps.detect_regions"}
    if not stale:
        assert changed(before) == set()


def test_digest_does_not_depend_on_where_the_project_lies(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / LOCK_FILE).write_bytes((PROJECT_ROOT / LOCK_FILE).read_bytes())
    here = code_digest("steps.train_model")
    monkeypatch.setattr(steps.code, "PROJECT_ROOT", PROJECT_ROOT)
    assert code_digest("steps.train_model") == here


def test_every_way_to_import_is_followed(copy: Path) -> None:
    (copy / "models" / "a.py").write_text("import models.b\n", encoding="utf-8")
    (copy / "models" / "b.py").write_text(
        "def f():\n    from . import c\n    from .regions import boxes\n", encoding="utf-8"
    )
    (copy / "models" / "c.py").write_text("from catalog import text\n", encoding="utf-8")
    found = names("models.a")
    assert {"models/a.py", "models/b.py", "models/c.py", "models/regions/boxes.py", "catalog/text.py"} <= found
    assert "models/__init__.py" in found
    assert not any(name.startswith(("serving", "validation")) for name in found)


def test_regions_do_not_stand_on_the_networks() -> None:
    assert "models/regions/store.py" in names("steps.detect_regions")
    assert "models/losses/contrastive.py" not in names("steps.detect_regions")
    assert "models/losses/contrastive.py" in names("steps.train_model")


@pytest.mark.usefixtures("workplace")
def test_cached_steps_name_their_own_module() -> None:
    for module in CACHED:
        loaded = importlib.import_module(module)
        assert loaded.cached_under() == cache_key(module)
        assert loaded.cached_under().startswith(code_digest(module))
        step = getattr(loaded, module.rpartition(".")[2])
        assert step.configuration.cache_policy.cache_func.import_path == f"{module}.cached_under"
