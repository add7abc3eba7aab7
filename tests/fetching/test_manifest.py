"""The manifest survives a kill at any byte, and keeps one row a URL."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError
from catalog.fetching import MANIFEST, Row, read_manifest
from catalog.fetching.manifest import Manifest

texts = st.text(max_size=12)
rows = st.builds(
    Row,
    url=st.sampled_from(["http://a/1", "http://a/2", "http://a/图", "http://a/\ud800"]),
    path=st.none() | texts,
    sha256=st.none() | texts,
    num_bytes=st.none() | st.integers(0, 2**40),
    width=st.none() | st.integers(1, 9),
    height=st.none() | st.integers(1, 9),
    status=st.sampled_from(["ok", "failed", "refused"]),
    reason=texts,
    detail=st.text(st.characters(), max_size=12),
    attempts=st.integers(0, 9),
    http_status=st.none() | st.integers(100, 599),
)


def write(folder: Path, *made: Row) -> None:
    manifest = Manifest(folder)
    with manifest.appending():
        for row in made:
            manifest.append(row)


@given(st.lists(rows, max_size=8))
def test_what_is_written_is_read_and_the_last_row_of_a_url_counts(made: list[Row]) -> None:
    with TemporaryDirectory() as folder:
        write(Path(folder), *made)
        assert read_manifest(folder) == {row.url: row for row in made}
        assert len(list(Manifest(Path(folder)).rows())) == len({row.url for row in made})


@given(st.lists(rows, min_size=1, max_size=5), st.data())
def test_a_file_cut_at_any_byte_keeps_its_whole_rows_and_can_be_gone_on_with(
    made: list[Row], data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        manifest = Manifest(folder)
        manifest.path.touch()
        with manifest.path.open("ab") as manifest._stream:
            for row in made:
                manifest.append(row)
        whole = manifest.path.read_bytes()
        end = data.draw(st.integers(0, len(whole)))
        manifest.path.write_bytes(whole[:end])
        left = made[: whole[:end].count(b"\n")]
        assert read_manifest(folder) == {row.url: row for row in left}
        write(folder, made[-1])
        assert read_manifest(folder) == {row.url: row for row in [*left, made[-1]]}


def test_a_very_long_torn_line_is_cut_off(tmp_path: Path) -> None:
    row = Row("http://a/1", None, None, None, None, None, "failed", "tls", "", 1, None)
    write(tmp_path, row)
    with (tmp_path / MANIFEST).open("ab") as stream:
        stream.write(b'{"url": "' + b"x" * 300_000)
    write(tmp_path)
    assert read_manifest(tmp_path) == {row.url: row}
    assert (tmp_path / MANIFEST).read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("line", ["not json", "[]", "{}", '{"url": 7}', '{"url": "http://a", "path": null}'])
def test_a_manifest_that_is_not_ours_is_refused_by_line(line: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(line + "\n")
    with pytest.raises(CatalogError, match=r"manifest\.jsonl:1"):
        read_manifest(tmp_path)


def test_a_folder_without_a_manifest_has_no_rows(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}
