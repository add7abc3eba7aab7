from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import ModelError, StorageError
from models.regions import Candidate, RegionStore

_NUMBER = st.floats(0, 1e6, allow_nan=False)
_CANDIDATES = st.lists(st.builds(Candidate, st.tuples(_NUMBER, _NUMBER, _NUMBER, _NUMBER), st.floats(0, 1)), max_size=5)


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
