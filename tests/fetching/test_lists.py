"""URLs out of text files and of every kind of table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import CatalogError
from catalog.fetching import read_urls

A, B, C = "http://a.example/1.jpg", "https://b.example/图.jpg", "http://c.example/x?y=1,2"
ROWS = [
    {"id": "1", "image": A, "more": [B, C, None, ""]},
    {"id": "2", "image": None, "more": []},
    {"id": "3", "image": "images/3.jpg", "more": [A]},
    {"id": "4", "image": "  ", "more": None},
]


def table(folder: Path, kind: str) -> Path:
    path = folder / f"products.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.DictWriter(stream, ["id", "image", "more"], delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(row | {"more": json.dumps(row["more"])} for row in ROWS)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv", "tsv"])
def test_every_kind_of_table_gives_the_same_urls(kind: str, tmp_path: Path) -> None:
    found = read_urls(table(tmp_path, kind), ["image", "more"])
    assert list(found.urls) == [A, B, C]
    assert found.num_values == 4
    left_out = 1 + (kind in ("csv", "tsv"))  # `null` as text in the last row
    assert found.num_left_out == left_out
    assert "images/3.jpg" in found.examples[0]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_one_column_alone(kind: str, tmp_path: Path) -> None:
    assert list(read_urls(table(tmp_path, kind), ["more"]).urls) == [B, C, A]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv", "tsv"])
def test_a_table_without_a_column_named_tells_which_there_are(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="id, image, more"):
        read_urls(table(tmp_path, kind))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_a_misspelt_column_is_told_the_nearest(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"--column image\b"):
        read_urls(table(tmp_path, kind), ["imege"])


def test_a_text_file_has_one_url_a_line(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text(f"\ufeff{A}\r\n\n# a note\n  {B} \n{A}\nnot a url\n//cdn.example/1.jpg\n", encoding="utf-8")
    found = read_urls(path)
    assert list(found.urls) == [A, B, "https://cdn.example/1.jpg"]
    assert (found.num_values, found.num_left_out) == (4, 1)
    assert found.examples == ["urls.txt:6: not a url"]


def test_broken_rows_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        f'{{"u": "{A}"}}\n{{"u": \n{{"u": 7}}\n{{"u": ["{B}", {{}}, {{"url": "{C}"}}]}}\n{{"u": "[broken"}}\n'
    )
    found = read_urls(path, ["u"])
    assert list(found.urls) == [A, B, C]
    assert found.num_left_out == 4


@pytest.mark.parametrize(
    ("name", "data", "columns", "told"),
    [
        ("deep.csv", b"image\n" + b"[" * 900 + b"]" * 900 + b"\n", ["image"], "no URL"),
        ("deeper.csv", b"image\n" + b"[" * 90_000 + b"\n", ["image"], "no URL"),
        ("missing.txt", None, [], "cannot be read"),
        ("empty.txt", b"", [], "no URL"),
        ("paths.txt", b"images/a.jpg\n", [], "no URL"),
        ("latin.txt", b"http://a.example/\xe9.jpg\n", [], "cannot be read"),
        ("urls.txt", b"http://a.example/1\n", ["image"], "no columns"),
        ("broken.parquet", b"PAR1 not really", ["image"], "cannot be read"),
        ("empty.csv", b"", ["image"], "no column image"),
        ("empty.jsonl", b"", ["image"], "no column image"),
        ("wide.csv", b"image\n" + b"x" * 200_000 + b"\n", ["image"], "no URL"),
    ],
)
def test_a_file_that_is_no_list_is_refused(
    name: str, data: bytes | None, columns: list[str], told: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CatalogError, match=told):
        read_urls(path, columns)
