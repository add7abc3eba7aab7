from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import ModelError, StorageError
from models.regions import Candidate, Candidates, RegionStore, note_of

_NUMBER = st.floats(0, 1e6, allow_nan=False)
_CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.tuples(_NUMBER, _NUMBER, _NUMBER, _NUMBER),
        st.floats(0, 1),
        st.sampled_from(["product", "garment"]),
        st.none() | st.floats(-1, 1),
    ),
    max_size=5,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(min_size=1, max_size=12), _CANDIDATES, max_size=6))
def test_round_trip_is_exact(tmp_path: Path, content: dict[str, list[Candidate]]) -> None:
    store = RegionStore("d" * 64)
    for key, candidates in content.items():
        store.add(key, (640, 480), candidates)
    store.write(tmp_path)
    back = RegionStore.read(tmp_path, "d" * 64)
    assert {key: back.get(key) for key in back} == content
    assert all(back.size_px(key) == (640, 480) for key in back)


def test_looked_at_and_empty_is_not_unknown() -> None:
    store = RegionStore("d")
    store.add("seen", (10, 10), [])
    assert store.get("seen") == []
    assert store.get("unseen") is None


def test_same_content_gives_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    written = []
    for name, keys in (("a", "xyz"), ("b", "zxy")):
        store = RegionStore("d")
        for key in keys:
            store.add(key, (10, 20), [Candidate((1, 2, 3, 4), 0.5)])
        written.append(store.write(tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_another_detectors_regions_are_refused(tmp_path: Path) -> None:
    RegionStore("a" * 64).write(tmp_path)
    assert len(RegionStore.read(tmp_path)) == 0
    with pytest.raises(ModelError, match="another detector's"):
        RegionStore.read(tmp_path, "b" * 64)


def test_what_a_detector_said_beside_its_candidates_is_kept(tmp_path: Path) -> None:
    store = RegionStore("a")
    store.add("refused", (9, 8), Candidates(note="answer refused: no JSON"))
    store.add("cut", (9, 8), Candidates([Candidate((0.0, 1.0, 2.0, 3.0), 0.5)], "box 0 was cut"))
    store.add("plain", (9, 8), [Candidate((0.0, 1.0, 2.0, 3.0), 0.5)])
    store.write(tmp_path)
    again = RegionStore.read(tmp_path)
    for key, note in (("refused", "answer refused: no JSON"), ("cut", "box 0 was cut"), ("plain", "")):
        found = again.get(key)
        assert found is not None
        assert note_of(found) == note
    assert again.get("refused") == []


def test_a_part_and_a_whole_of_one_detector() -> None:
    whole = RegionStore("a")
    whole.add("one", (9, 8), Candidates(note="no JSON"))
    whole.add("two", (7, 6), [Candidate((0.0, 1.0, 2.0, 3.0), 0.5)])
    part = whole.only({"one", "three"})
    assert (list(part), part.detector_digest, part.size_px("one")) == (["one"], "a", (9, 8))
    part.add("four", (1, 1), [])
    assert "four" not in whole
    whole.take(part)
    assert list(whole) == ["one", "two", "four"]
    found = whole.get("one")
    assert found is not None
    assert note_of(found) == "no JSON"
    with pytest.raises(ModelError, match="another detector's"):
        whole.take(RegionStore("b"))


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = RegionStore("a").write(tmp_path)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"moon.schema_version": b"99"}), path)
    with pytest.raises(ModelError, match="99"):
        RegionStore.read(tmp_path)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no stored regions"):
        RegionStore.read(tmp_path)
    (tmp_path / "regions.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ModelError, match="damaged"):
        RegionStore.read(tmp_path)
    pq.write_table(pa.table({"key": ["x"]}), tmp_path / "regions.parquet")
    with pytest.raises(ModelError, match="schema version"):
        RegionStore.read(tmp_path)


_SOUND: dict[str, Any] = {
    "key": "seen",
    "width_px": 9,
    "height_px": 8,
    "boxes": [[0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 2.0, 2.0]],
    "scores": [0.9, 0.5],
    "labels": ["product", "garment"],
    "agreements": [None, 0.25],
    "note": "",
}


def _write_rows(folder: Path, rows: list[dict[str, Any]], **metadata: str) -> Path:
    """A file as another program would write it."""
    told = {"moon.schema_version": "2", "moon.detector_digest": "d", **metadata}
    kept = {name.encode(): value.encode() for name, value in told.items() if value}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(kept), folder / "regions.parquet")
    return folder / "regions.parquet"


def test_a_sound_row_of_another_writer_is_read(tmp_path: Path) -> None:
    _write_rows(tmp_path, [_SOUND])
    found = RegionStore.read(tmp_path, "d").get("seen")
    assert found == [Candidate((0.0, 1.0, 2.0, 3.0), 0.9), Candidate((1.0, 1.0, 2.0, 2.0), 0.5, "garment", 0.25)]


def test_a_file_of_schema_1_is_read_as_products(tmp_path: Path) -> None:
    old = {name: value for name, value in _SOUND.items() if name not in ("labels", "agreements", "note")}
    _write_rows(tmp_path, [old], **{"moon.schema_version": "1"})
    found = RegionStore.read(tmp_path, "d").get("seen")
    assert found == [Candidate((0.0, 1.0, 2.0, 3.0), 0.9), Candidate((1.0, 1.0, 2.0, 2.0), 0.5)]


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"boxes": [[0.0, 1.0], [1.0, 1.0, 2.0, 2.0]]}, "the box [0.0, 1.0]"),
        ({"boxes": [[0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]]}, "the box [0.0, 1.0, 2.0, 3.0, 4.0]"),
        ({"boxes": [[0.0, 1.0, float("nan"), 3.0], [1.0, 1.0, 2.0, 2.0]]}, "nan"),
        ({"boxes": [[0.0, 1.0, 2.0, 3.0], [1.0, float("inf"), 2.0, 2.0]]}, "inf"),
        ({"boxes": [[0.0, 1.0, None, 3.0], [1.0, 1.0, 2.0, 2.0]]}, "None"),
        ({"boxes": [None, [1.0, 1.0, 2.0, 2.0]]}, "the box None"),
        ({"scores": [0.9]}, "2 boxes and 1 scores"),
        ({"labels": ["product"]}, "2 boxes and 1 labels"),
        ({"labels": ["product", None]}, "the label None"),
        ({"labels": ["product", ""]}, "the label"),
        ({"agreements": []}, "2 boxes and 0 agreements"),
        ({"agreements": [float("nan"), None]}, "the agreement nan"),
        ({"boxes": [[0.0, 1.0, 2.0, 3.0]]}, "1 boxes and 2 scores"),
        ({"scores": [0.9, float("nan")]}, "the score nan"),
        ({"scores": None}, "no scores"),
        ({"boxes": None, "scores": None}, "no boxes, scores"),
        ({"width_px": None}, "no width_px"),
        ({"key": None}, "no key"),
        ({"note": None}, "no note"),
    ],
)
def test_a_damaged_row_is_refused_by_file_and_row(tmp_path: Path, changes: dict[str, Any], got: str) -> None:
    path = _write_rows(tmp_path, [_SOUND, {**_SOUND, "key": "bad"} | changes])
    with pytest.raises(ModelError, match="damaged") as caught:
        RegionStore.read(tmp_path)
    assert str(path) in caught.value.where
    assert "row 1" in caught.value.where
    assert got in caught.value.got
    assert "detect_regions" in caught.value.fix


def test_other_columns_and_types_are_refused_by_file(tmp_path: Path) -> None:
    lacking = {name: value for name, value in _SOUND.items() if name != "boxes"}
    for row, problem in (
        (lacking, "other columns"),
        ({**_SOUND, "more": 1}, "other columns"),
        ({**_SOUND, "width_px": "wide"}, "damaged"),
        ({**_SOUND, "boxes": [1.0, 2.0]}, "damaged"),
    ):
        path = _write_rows(tmp_path, [row])
        with pytest.raises(ModelError, match=problem) as caught:
            RegionStore.read(tmp_path)
        assert str(path) in caught.value.where


def test_regions_of_nobody_are_refused(tmp_path: Path) -> None:
    path = _write_rows(tmp_path, [_SOUND], **{"moon.detector_digest": ""})
    with pytest.raises(ModelError, match="do not say whose") as caught:
        RegionStore.read(tmp_path)
    assert caught.value.where == str(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = RegionStore("a").write(tmp_path).read_bytes()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    store = RegionStore("b")
    store.add("x", (1, 1), [])
    with pytest.raises(StorageError, match="No space left"):
        store.write(tmp_path)
    assert (tmp_path / "regions.parquet").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["regions.parquet"]
