"""Setting aside takes the smallest thing, says why, and never passes a catalogue that lost too much."""

import json

import pytest

from catalog import Side, StorageError
from tests.data_checks.shops import Shop, found, group_on, saved, scene
from validation.data import quarantine, write_quarantine


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "shop")


def aside(verdict):
    return {(row.where, row.product_id) for row in verdict.quarantined}


def test_broken_photo_goes_and_its_product_stays(shop):
    shop.products[2] |= {
        "images": ["absent.png", "images/2.png"],
        "image_roles": ["back", "main"],
        "boxes": [None, [0, 0, 9, 9]],
    }
    verdict = shop.check(on_error="quarantine")
    assert verdict.passed
    assert aside(verdict) == {("absent.png", "p2")}
    assert "missing" in verdict.quarantined[0].reason
    kept = verdict.catalog.by_id["p2"]
    assert (kept.images, kept.image_roles, kept.boxes) == (("images/2.png",), ("main",), ((0, 0, 9, 9),))
    assert "absent.png" not in verdict.catalog.images
    assert len(verdict.catalog.products) == 18


def test_product_with_a_title_outlives_its_last_photo(shop):
    shop.products[2]["images"] = ["absent.png"]
    verdict = shop.check(on_error="quarantine")
    assert verdict.catalog.by_id["p2"].images == ()
    assert aside(verdict) == {("absent.png", "p2")}


def test_product_with_nothing_left_goes_and_takes_its_queries(shop):
    shop.products[2] |= {"title": None, "images": ["absent.png"]}
    shop.queries.append({"query_id": "two", "kind": "text", "text": "two", "product_ids": ["p2", "p3"]})
    verdict = shop.check(on_error="quarantine")
    assert verdict.passed
    assert aside(verdict) == {("absent.png", "p2"), ("product p2", "p2"), ("query q2", "p2")}
    assert "p2" not in verdict.catalog.by_id
    assert [query.product_ids for query in verdict.catalog.queries if query.query_id == "two"] == [("p3",)]


def test_leaking_photo_goes_from_the_training_side(shop):
    shop.products[0]["group_id"], shop.products[1]["group_id"] = group_on(Side.TRAIN), group_on(Side.TEST)
    shop.products[0]["images"].append(shop.products[1]["images"][0])
    verdict = shop.check(on_error="quarantine")
    assert verdict.catalog.by_id["p0"].images == ("images/0.png",)
    assert verdict.catalog.by_id["p1"].images == ("images/1.png",)
    assert "identical_across_sides" in verdict.quarantined[0].reason


def test_bad_query_goes_alone(shop):
    saved(shop.folder, "asked.png", scene(77))
    shop.queries += [
        {"query_id": "bad", "kind": "photo", "image": "images/3.png", "product_ids": ["p3"]},
        {"query_id": "good", "kind": "photo", "image": "asked.png", "product_ids": ["p3"]},
    ]
    verdict = shop.check(on_error="quarantine")
    assert aside(verdict) == {("query bad", "p3")}
    assert "good" in {query.query_id for query in verdict.catalog.queries}


def test_what_is_left_passes_every_error_check(shop):
    shop.products[2] |= {"title": None, "images": ["absent.png"]}
    shop.products[3]["images"].append("gone.png")
    shop.queries.append({"query_id": "bad", "kind": "photo", "image": "images/3.png", "product_ids": ["p3"]})
    verdict = shop.check(on_error="quarantine")
    from catalog import SplitConfig, split_catalog
    from validation.config import DataChecksConfig
    from validation.data import check_catalog

    again = check_catalog(verdict.catalog, split_catalog(verdict.catalog, SplitConfig()), DataChecksConfig())
    assert again.passed
    assert found(again) == set()


def test_rows_set_aside_by_ingestion_are_told_first(shop):
    shop.products.insert(0, '{"product_id": ')
    verdict = shop.check(on_error="quarantine")
    assert verdict.quarantined[0].where == "products.jsonl:1"
    assert "broken JSON" in verdict.html


def test_too_much_set_aside_stops_even_so(shop):
    for row in shop.products[:4]:
        row |= {"title": None, "images": ["absent.png"]}
    verdict = shop.check(on_error="quarantine")
    assert not verdict.passed
    assert "4 of 18 products" in verdict.reason
    assert shop.check(on_error="quarantine", max_quarantined_frac=0.25).passed


def test_bad_rows_of_ingestion_count_towards_too_much(shop):
    shop.products[:4] = [{"product_id": f"bad{n}", "category": "string"} for n in range(4)]
    shop.queries = []
    assert not shop.check(on_error="quarantine").passed


def test_nothing_left_stops(shop):
    for row in shop.products:
        row |= {"title": None, "images": ["absent.png"]}
    verdict = shop.check(on_error="quarantine", max_quarantined_frac=1.0)
    assert verdict.reason == "nothing is left after setting bad rows aside"


def test_fault_of_no_row_cannot_be_set_aside(shop):
    for row in shop.products:
        row["category"] = ["All"]
    verdict = shop.check(on_error="quarantine", levels={"leaf_share": "error"})
    assert not verdict.passed
    assert "leaf_share" in verdict.reason


def test_file_lists_every_row(shop, tmp_path):
    shop.products[2]["images"].append("absent.png")
    shop.products.append({"product_id": "ü", "category": "string"})
    verdict = shop.check(on_error="quarantine")
    path = tmp_path / "deep" / "quarantine.jsonl"
    write_quarantine(verdict, str(path))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(row["where"], row["product_id"]) for row in rows] == [("products.jsonl:19", "ü"), ("absent.png", "p2")]
    assert all(row["reason"] and row["schema_version"] == 1 for row in rows)
    write_quarantine(shop.check(on_error="quarantine"), str(path))
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("number", [28, 30])  # ENOSPC, EROFS
def test_full_or_read_only_disk_leaves_the_old_file(shop, tmp_path, monkeypatch, number):
    import os

    path = tmp_path / "quarantine.jsonl"
    path.write_text("old")
    verdict = shop.check(on_error="quarantine")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(quarantine.os, "replace", fail)
    with pytest.raises(StorageError) as caught:
        write_quarantine(verdict, str(path))
    assert os.strerror(number) in str(caught.value)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["quarantine.jsonl"]
