"""Marqo's GoogleShopping sets: hits become products and queries, pictures inside rows become files once."""

import json

import pyarrow as pa
import pytest

from catalog import CatalogError, ConfigError, QueryKind, read_catalog, write_catalog
from catalog.catalog import EMBEDDED_ROOT
from tests.catalog.pictures import picture_bytes
from tests.catalog.published import IMAGE, hit, load, write_fetched, write_parquet

HITS = [
    hit(1, "red mug", 2),
    hit(2, "red mug", 1),
    hit(1, "gift for mum", 40),
    hit(3, "red mug", 7),
    hit(3, "Red mug ", 9),
]


def shards(tmp_path, rows=HITS, **types):
    folder = tmp_path / "set" / "data"
    write_parquet(folder / "test-00000-of-00002.parquet", rows[:1], image=IMAGE, **types)
    write_parquet(folder / "test-00001-of-00002.parquet", rows[1:], image=IMAGE, **types)
    return tmp_path / "set"


def test_items_become_products_once_and_queries_are_put_together_by_their_words(tmp_path):
    catalog = load("marqo", shards(tmp_path), tmp_path / "work")
    assert [product.product_id for product in catalog.products] == ["1", "2", "3"]
    asked = {query.text: query for query in catalog.queries}
    assert list(asked) == ["red mug", "gift for mum", "Red mug"]
    assert asked["red mug"].product_ids == ("2", "1", "3")
    assert asked["gift for mum"].product_ids == ("1",)
    assert {query.kind for query in catalog.queries} == {QueryKind.TEXT}


def test_the_rank_is_kept_beside_the_products_and_no_weight_is_made_of_it(tmp_path):
    catalog = load("marqo", shards(tmp_path), tmp_path / "work")
    query = catalog.queries[0]
    assert query.extra["positions"] == [1.0, 2.0, 7.0]
    assert query.weight == 1.0


def test_an_item_that_stands_twice_for_a_query_keeps_its_better_rank(tmp_path):
    rows = [hit(1, "mug", 9), hit(2, "mug", 5), hit(1, "mug", 3), hit(4, "mug", None)]
    query = load("marqo", shards(tmp_path, rows), tmp_path / "work").queries[0]
    assert query.product_ids == ("1", "2", "4")
    assert query.extra["positions"] == [3.0, 5.0, None]
    turned = load("marqo", shards(tmp_path / "turned", rows[::-1]), tmp_path / "work").queries[0]
    assert (turned.product_ids, turned.extra) == (query.product_ids, query.extra)


def test_pictures_in_rows_are_written_once_by_their_digest(tmp_path):
    rows = [hit(1, "mug", 1, seed=7), hit(2, "mug", 2, seed=7), hit(3, "mug", 3, seed=8)]
    catalog = load("marqo", shards(tmp_path, rows), tmp_path / "work")
    written = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert len(written) == 2
    assert {path.suffix for path in written} == {".png"}
    first, second, third = (product.images[0] for product in catalog.products)
    assert first == second != third
    assert catalog.photo(third).read_bytes() == picture_bytes(8)
    assert "bytes" not in json.dumps([product.extra for product in catalog.products])


def test_reading_again_writes_nothing_and_gives_the_same_digest(tmp_path):
    first = load("marqo", shards(tmp_path), tmp_path / "work")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*")}
    second = load("marqo", tmp_path / "set", tmp_path / "work")
    assert second.digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*")} == stamps
    assert load("marqo", tmp_path / "set", tmp_path / "elsewhere").digest == first.digest


def test_no_absolute_path_is_kept_of_pictures_that_rows_held(tmp_path):
    catalog = load("marqo", shards(tmp_path), tmp_path / "work")
    assert catalog.image_root == EMBEDDED_ROOT
    write_catalog(catalog, catalog.root)
    kept = read_catalog(catalog.root)
    assert kept.digest == catalog.digest
    assert [kept.photo(ref).read_bytes() for ref in kept.images] == [
        catalog.photo(r).read_bytes() for r in catalog.images
    ]


def test_pictures_named_by_url_need_the_folder_they_were_fetched_to(tmp_path):
    rows = [hit(1, "mug", 1, image={"bytes": None, "path": "https://a.example/1.jpg"})]
    path = write_parquet(tmp_path / "hits.parquet", rows, image=IMAGE)
    without = load("marqo", path, tmp_path / "work")
    assert without.products[0].extra["image_urls"] == ["https://a.example/1.jpg"]
    root = write_fetched(tmp_path / "fetched", {"https://a.example/1.jpg": picture_bytes(1)})
    found = load("marqo", path, tmp_path / "work", image_root=str(root))
    assert found.photo(found.products[0].images[0]).read_bytes() == picture_bytes(1)


def test_pictures_of_both_kinds_come_below_one_root(tmp_path):
    url = "https://a.example/1.jpg"
    rows = [hit(1, "mug", 1, image={"bytes": None, "path": url}), hit(2, "mug", 2)]
    path = write_parquet(tmp_path / "hits.parquet", rows, image=IMAGE)
    root = write_fetched(tmp_path / "fetched", {url: picture_bytes(1)})
    catalog = load("marqo", path, tmp_path / "work", image_root=str(root))
    assert [record.status for record in catalog.images.values()] == ["ok", "ok"]
    assert [catalog.photo(p.images[0]).read_bytes() for p in catalog.products] == [picture_bytes(1), picture_bytes(2)]


@pytest.mark.parametrize("way", ["{outside}", "../../{name}"])
def test_a_row_that_names_a_picture_outside_writes_nothing_there(tmp_path, way):
    outside = tmp_path / "outside" / "x.png"
    data, work = tmp_path / "data", tmp_path / "work"
    planted = data / str(outside).lstrip("/")
    planted.parent.mkdir(parents=True)
    planted.write_bytes(picture_bytes(1))
    (tmp_path / "x.png").write_bytes(picture_bytes(1))
    named = way.format(outside=outside, name="x.png")
    rows = [hit(1, "mug", 1), hit(2, "mug", 2, image={"bytes": None, "path": named})]
    write_parquet(data / "hits.parquet", rows, image=IMAGE)
    catalog = load("marqo", data / "hits.parquet", work, on_error="quarantine")
    assert [row.where for row in catalog.bad_rows] == ["hits.parquet:2"]
    assert not outside.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "work", "x.png"]


def test_damaged_pictures_are_told_by_ingestion(tmp_path):
    rows = [hit(1, "mug", 1, image={"bytes": b"no picture", "path": None})]
    catalog = load("marqo", write_parquet(tmp_path / "h.parquet", rows, image=IMAGE), tmp_path / "work")
    assert [record.status for record in catalog.images.values()] == ["file is not a picture"]


def test_a_row_without_a_query_is_a_product_alone(tmp_path):
    rows = [hit(1, None, 1), hit(2, "mug", 1)]
    catalog = load("marqo", shards(tmp_path, rows), tmp_path / "work")
    assert len(catalog.products) == 2
    assert [query.product_ids for query in catalog.queries] == [("2",)]


def test_another_title_of_an_item_is_told_and_the_first_counts(tmp_path):
    rows = [hit(1, "mug", 1), hit(1, "cup", 1, title="Other")]
    catalog = load("marqo", shards(tmp_path, rows), tmp_path / "work")
    assert catalog.products[0].title == "Item 1"
    assert any("the first row counts" in note for note in catalog.notes)


def test_a_missing_column_is_named(tmp_path):
    rows = [{key: value for key, value in hit(1, "mug", 1).items() if key != "item_ID"} | {"item_id": "1"}]
    with pytest.raises(ConfigError) as caught:
        load("marqo", write_parquet(tmp_path / "h.parquet", rows, image=IMAGE), tmp_path / "work")
    assert "did you mean item_id?" in str(caught.value)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "h.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(CatalogError, match="cannot be read"):
        load("marqo", tmp_path / "h.parquet", tmp_path / "work")


def test_ids_that_are_numbers_read_the_same(tmp_path):
    rows = [{**hit(1, "mug", 1), "item_ID": 1}]
    catalog = load("marqo", write_parquet(tmp_path / "h.parquet", rows, image=IMAGE, item_ID=pa.int64()), tmp_path)
    assert catalog.products[0].product_id == "1"
    assert catalog.queries[0].product_ids == ("1",)
