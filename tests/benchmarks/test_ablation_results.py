"""Rows and results by item on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablation.results import Rows, kept, pack, read_outcomes, unpack, write_json
from catalog import ModelError
from tests.benchmarks.rows import IMAGE, LEAF, TEXT, outcome, row
from validation.benchmark import MAIN_METRICS
from validation.statistics import Outcome


def test_rows_survive_the_disk(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "deep" / "demo.jsonl")
    made = [row(seed=seed, changes={"model.use_crops": (True, False)}, scores={IMAGE: (0.5, 2)}) for seed in (1, 2)]
    for one in made:
        rows.append(one)
    assert rows.read() == made


def test_a_damaged_line_in_the_middle_is_an_error_with_its_place(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "demo.jsonl")
    rows.append(row())
    rows.path.write_bytes(b'{"arm": 3}\n' + rows.path.read_bytes())
    with pytest.raises(ModelError) as caught:
        rows.read()
    assert caught.value.where.endswith("demo.jsonl:1")


def test_a_row_of_another_schema_is_refused(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "demo.jsonl")
    rows.append(row())
    rows.path.write_text(rows.path.read_text().replace('"schema_version":1', '"schema_version":2'))
    with pytest.raises(ModelError, match="not a row"):
        rows.read()


def test_results_by_item_survive_packing() -> None:
    given = {
        IMAGE: outcome([1, 0, 1], ["a", "a", "b"]),
        TEXT: outcome([0, 0], name="t"),
        LEAF: Outcome(("q1", "q0"), ("a", "a"), np.array([1.0, 0.0])),
        "attribute.colour_title_hidden/accuracy": outcome([1]),
        "image_to_product/mrr": outcome([0.5]),
    }
    found = unpack(json.loads(json.dumps(pack(given))))
    assert set(found) == set(given) - {"image_to_product/mrr"}
    for metric, one in found.items():
        own = given[metric]
        assert dict(zip(one.ids, zip(one.groups, one.values, strict=True), strict=True)) == dict(
            zip(own.ids, zip(own.groups, own.values, strict=True), strict=True)
        )


def test_an_id_of_a_query_and_of_a_product_in_two_groups_stays_two_items() -> None:
    given = {IMAGE: outcome([1], ["a"]), LEAF: outcome([0], ["b"])}
    found = unpack(pack(given))
    assert (found[IMAGE].groups, found[LEAF].groups) == (("a",), ("b",))
    assert (found[IMAGE].values[0], found[LEAF].values[0]) == (1.0, 0.0)


def test_shares_are_not_packed_as_hits() -> None:
    with pytest.raises(ModelError, match="hits and misses"):
        pack({IMAGE: outcome([0.5])})


def test_what_the_bars_compare_is_kept() -> None:
    single = [metric for metric in MAIN_METRICS if not metric.startswith("attributes")]
    assert all(kept(metric) for metric in (*single, "image_to_product/recall@10", "category_leaf/accuracy"))
    assert kept("attribute.colour/accuracy")
    assert not kept("image_to_product/recall@5")


def test_a_file_of_a_large_fold_stays_small() -> None:
    ids, groups = [f"WSH{index:04d}-Purple" for index in range(160)], [f"WSH{index // 4:04d}" for index in range(160)]
    hits = Outcome(tuple(ids), tuple(groups), np.ones(160))
    photos = Outcome(tuple(f"photo:{key}" for key in ids), tuple(groups), np.ones(160))
    names = [f"attribute.name{number}{suffix}/accuracy" for number in range(10) for suffix in ("", "_title_hidden")]
    given = {IMAGE: photos, "image_to_product/recall@10": photos, LEAF: hits} | dict.fromkeys(names, hits)
    assert len(json.dumps(pack(given))) < 40_000


def test_a_missing_file_is_told_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="full, seed 1"):
        read_outcomes(tmp_path, row(outcomes="outcomes/none.json"))


def test_files_appear_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"x": 1})
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": 1}
