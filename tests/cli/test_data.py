"""`moon data import` writes where the recipes look; `moon data inspect` says what data is and holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog import CatalogConfig
from catalog.sources import load_catalog, magento
from moon.cli import app
from tests.catalog.pictures import picture_bytes, product, write_folder
from tests.catalog.published import (
    IMAGE,
    hit,
    mbe_row,
    shopify_row,
    write_csv,
    write_fetched,
    write_lines,
    write_parquet,
    write_shopify,
)


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


def inspected(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["data", "inspect", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_folder_is_told_as_ever(tmp_path: Path) -> None:
    write_folder(tmp_path / "shop", [product(0), product(1), {"title": "no id"}])
    told = inspected(tmp_path / "shop")
    assert told.startswith("products     2 in 2 groups\n")
    assert "bad row: products.jsonl:3: no product_id" in told
    assert "source" not in told


def test_an_option_without_effect_is_told(tmp_path: Path) -> None:
    write_folder(tmp_path / "shop", [product(0)])
    told = inspected(tmp_path / "shop", "--image-root", tmp_path, "--list-urls", tmp_path / "urls.txt")
    assert "--image-root has no effect" in told
    assert "products     1 in 1 groups" in told
    path = write_csv(tmp_path / "t.csv", [{"a": "1"}])
    assert "--list-urls has no effect" in inspected(path, "--list-urls", tmp_path / "urls.txt")
    assert not (tmp_path / "urls.txt").exists()


@pytest.mark.parametrize("path", ["nonsense://a/b", "s3://bucket/rows.jsonl"])
def test_a_place_that_no_file_system_reads_is_an_error_that_says_so(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    done = CliRunner().invoke(app, ["data", "inspect", path])
    assert done.exit_code == 1
    assert "no file system for this path" in done.output
    assert path in done.output


def test_mbe_is_told_with_its_recipe_what_is_missing_and_what_is_bad(tmp_path: Path) -> None:
    rows = [mbe_row(0), mbe_row(1), mbe_row(2, doc_title=None), "{broken"]
    path = write_lines(tmp_path / "eval.jsonl", rows)
    told = inspected(path)
    assert "source       mbe (100% of its columns are here)" in told
    assert f"catalog: {{source: mbe, path: {path}}}" in told
    assert "title <- doc_title" in told
    assert "missing      query side" in told
    assert "products     2 in 2 groups" in told
    assert "photographs  0, 0 cannot be used; 2 URLs are not on disk" in told
    assert "categories   1 leaves, up to 5 levels" in told
    assert "夏季新款碎花连衣裙 0  [服饰 > 女装 > 裙装 > 连衣裙 > 碎花连衣裙]" in told
    assert "bad row: eval.jsonl:4: broken JSON" in told


def test_fetched_photographs_are_counted(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "eval.jsonl", [mbe_row(0), mbe_row(1)])
    root = write_fetched(tmp_path / "fetched", {"https://img.example.com/0.jpg": picture_bytes(0)})
    told = inspected(path, "--image-root", root)
    assert "photographs  1, 0 cannot be used; 1 URLs are not on disk" in told


def test_no_more_rows_are_read_than_asked_for(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "eval.jsonl", [mbe_row(number) for number in range(20)])
    told = inspected(path, "--rows", "5")
    assert "the first 5 are read" in told
    assert "products     5 in 5 groups" in told
    assert "products     20 in 20 groups" in inspected(path, "--rows", "0")


def test_a_table_that_nobody_knows_gets_a_draft_that_works_when_saved(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [{"sku": "01", "name": "Tee", "colour": "red"}])
    told = inspected(path)
    assert "source       columns (no source knows it)" in told
    assert "t.csv:2: sku: '01'" in told
    draft = "".join(f"{line.strip()}\n" for line in told.splitlines() if line.startswith("  ") and "t.csv" not in line)
    (tmp_path / "map.yaml").write_text(draft, encoding="utf-8")
    told = inspected(path, "--columns", tmp_path / "map.yaml")
    assert "01: Tee" in told
    assert f"columns: {tmp_path / 'map.yaml'}" in told


def test_a_map_that_does_not_fit_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [{"sku": "01", "name": "Tee"}])
    (tmp_path / "map.yaml").write_text("product_id: sku\ntitle: nam\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["data", "inspect", str(path), "--columns", str(tmp_path / "map.yaml")])
    assert done.exit_code != 0
    assert "did you mean name?" in f"{done.output}{done.exception}"


def test_a_marqo_set_is_told_with_its_queries(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "h.parquet", [hit(1, "mug", 1), hit(2, "mug", 2)], image=IMAGE)
    told = inspected(path)
    assert "source       marqo" in told
    assert "queries      text 1" in told
    assert "photographs  2, 0 cannot be used\n" in told


def test_a_shopify_export_is_told(tmp_path: Path) -> None:
    rows = [shopify_row("tee", Title="Tee", Option1_Name="Color", Option1_Value="Red", Variant_Price="9")]
    told = inspected(write_shopify(tmp_path / "export.csv", rows))
    assert "source       shopify" in told
    assert "note: a product export holds no queries" in told
    assert "  tee/Red: Tee" in told


def test_urls_that_are_not_on_disk_are_listed_those_of_bad_rows_too(tmp_path: Path) -> None:
    rows = [mbe_row(0), mbe_row(1, doc_title=None, doc_image="//img.example.com/1.jpg"), mbe_row(2)]
    path = write_lines(tmp_path / "eval.jsonl", rows)
    root = write_fetched(tmp_path / "fetched", {"https://img.example.com/2.jpg": picture_bytes(0)})
    told = inspected(path, "--image-root", root, "--list-urls", tmp_path / "urls.txt")
    assert (tmp_path / "urls.txt").read_text() == "https://img.example.com/0.jpg\nhttps://img.example.com/1.jpg\n"
    assert f"moon data fetch-images {tmp_path / 'urls.txt'} FOLDER" in told
