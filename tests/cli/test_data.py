"""`moon data import` writes where the recipes look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog import CatalogConfig
from catalog.sources import load_catalog, magento
from moon.cli import app


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The importer, replaced by one that writes a single row; what it was called with."""
    calls: list[tuple[str, str]] = []

    def write(src: str, out: str) -> tuple[int, int]:
        calls.append((src, out))
        Path(out).mkdir(parents=True)
        (Path(out) / "products.jsonl").write_text(json.dumps({"product_id": "a", "title": "Tee"}), encoding="utf-8")
        return 1, 0

    monkeypatch.setattr(magento, "import_magento_sample", write)
    return calls


@pytest.mark.parametrize(
    ("moon_data", "out", "expected"),
    [
        ("elsewhere", "data/luma", "elsewhere/luma"),
        ("elsewhere", "other/luma", "other/luma"),
        (None, "data/luma", "data/luma"),
    ],
)
def test_an_import_lies_where_the_recipe_of_its_path_looks(
    moon_data: str | None,
    out: str,
    expected: str,
    made: list[tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if moon_data is None:
        monkeypatch.delenv("MOON_DATA", raising=False)
    else:
        monkeypatch.setenv("MOON_DATA", str(tmp_path / moon_data))
    done = CliRunner().invoke(app, ["data", "import", "magento-sample", "clone", out])
    assert done.exit_code == 0, done.output
    assert made == [("clone", str(tmp_path / expected))]
    assert [path.parent for path in tmp_path.rglob("products.jsonl")] == [tmp_path / expected]
    assert "products     1 in 1 groups" in done.output
    assert [p.product_id for p in load_catalog(CatalogConfig(source="folder", path=out), work_dir="").products] == ["a"]


def test_an_absolute_folder_stays_where_it_was_named(
    made: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "elsewhere"))
    out = str(tmp_path / "data" / "luma")
    done = CliRunner().invoke(app, ["data", "import", "magento-sample", "clone", out])
    assert done.exit_code == 0, done.output
    assert made == [("clone", out)]
