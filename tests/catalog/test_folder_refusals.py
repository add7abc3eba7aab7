"""The folder source: what it refuses or sets aside, and how it says so."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import CatalogError
from tests.catalog.folder_source import load
from tests.catalog.pictures import product, write_folder


def refusal(folder, **config):
    with pytest.raises(CatalogError) as caught:
        load(folder, **config)
    return str(caught.value)


def test_missing_folder(tmp_path):
    text = refusal(tmp_path / "nowhere")
    assert "does not exist" in text
    assert str(tmp_path / "nowhere") in text
    assert "MOON_DATA" in text


def test_file_for_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "not a folder" in refusal(tmp_path / "file")


def test_empty_folder_and_empty_file(tmp_path):
    assert "empty catalogue" in refusal(tmp_path)
    (tmp_path / "products.jsonl").touch()
    text = refusal(tmp_path)
    assert "empty catalogue" in text
    assert "products.jsonl" in text


def test_queries_alone_must_be_labelled_photos(tmp_path):
    queries = [{"query_id": "q", "kind": "text", "text": "x", "product_ids": ["p0"]}]
    assert "empty catalogue" in refusal(write_folder(tmp_path, None, queries))


def test_two_product_tables(tmp_path):
    write_folder(tmp_path, [product()])
    pq.write_table(pa.table({"product_id": ["a"]}), tmp_path / "products.parquet")
    assert "products.jsonl and products.parquet" in refusal(tmp_path)


def test_unreadable_tables(tmp_path):
    (tmp_path / "products.parquet").write_bytes(b"PAR1 no table PAR1")
    assert "products.parquet cannot be read" in refusal(tmp_path)
    (tmp_path / "products.parquet").unlink()
    (tmp_path / "products.jsonl").mkdir()
    assert "products.jsonl cannot be read" in refusal(tmp_path)


BAD_PRODUCTS = [
    ('{"product_id": "p1", "title": ', "broken JSON"),
    ("[" * 100_000, "broken JSON"),
    ("[1]", "list, not an object"),
    ({"title": "no id"}, "no product_id"),
    ({"product_id": "", "title": "x"}, "no product_id"),
    ({"product_id": True, "title": "x"}, "product_id must be text"),
    (product(0), "stands already in products.jsonl:1"),
    (product(1, category="Men > Tops"), 'write a list, for example ["Men", "Tops"]'),
    (product(1, category=[["Men"]]), "category must hold text"),
    (product(1, images="a.png"), "images is a string"),
    (product(1, title=["x"]), "title must be text"),
    (product(1, title=None), "a title or at least one image"),
    (product(1, price="12 EUR"), "price must be a number"),
    (product(1, price="1_000"), "price must be a number"),
    (product(1, price=True), "price must be a number"),
    (product(1, price=-1), "greater than or equal to 0"),
    ('{"product_id": "p1", "title": "x", "price": 1e999}', "finite"),
    ('{"product_id": "p1", "title": "x", "rank": ' + "1" * 5000 + "}", "thousands of digits"),
    (product(1, extra='{"rank": ' + "1" * 5000 + "}"), "extra is text that is not JSON"),
    (product(1, attributes=["a"]), "attributes must be an object"),
    (product(1, attributes="red"), "attributes is text that is not JSON"),
    (product(1, attributes={"a": {"b": 1}}), "attributes.a must be text"),
    (product(1, images=["a.png"], image_roles=["x", "y"]), "2 entries for 1 images"),
    (product(1, images=["a.png"], boxes=[[3, 3, 1, 1]]), "is empty"),
    (product(1, images=["a.png"], boxes=[["x", 3, 1, 1]]), "boxes.0.0"),
    (product(1, images=["../a.png"]), "leaves the catalogue's folder"),
    (product(1, images=["images/../../a.png"]), "leaves the catalogue's folder"),
    (product(1, images=["/etc/passwd"]), "absolute or a URL"),
    (product(1, images=["~/a.png"]), "absolute or a URL"),
    (product(1, images=["https://example.com/a.png"]), "absolute or a URL"),
    (product(1, images=["file:a.png"]), "absolute or a URL"),
    (product(1, images=["C:/a.png"]), "absolute or a URL"),
    (product(1, images=["zip://a::b"]), "absolute or a URL"),
    (product(1, images=["a\\b.png"]), "backslash"),
    (product(1, images=["a\u0000.png"]), "control characters"),
    (product(1, images=[""]), "must hold paths"),
    (product(1, images=[3]), "must hold paths"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_PRODUCTS, ids=[reason for _, reason in BAD_PRODUCTS])
def test_bad_product_stops_or_is_set_aside(tmp_path, row, reason):
    folder = write_folder(tmp_path, [product(0), row])
    text = refusal(folder)
    assert "products.jsonl:2" in text
    assert reason in text
    assert "quarantine" in text
    catalog = load(folder, on_error="quarantine")
    assert [one.product_id for one in catalog.products] == ["p0"]
    (bad,) = catalog.bad_rows
    assert bad.where == "products.jsonl:2"
    assert reason in bad.reason


BAD_QUERIES = [
    ({"kind": "text", "text": "x", "product_ids": ["p0"]}, "no query_id"),
    ({"query_id": "q0", "kind": "text", "text": "x", "product_ids": ["p0"]}, "query_id stands twice"),
    ({"query_id": "q", "text": "x", "product_ids": ["p0"]}, "kind"),
    ({"query_id": "q", "kind": "smell", "text": "x", "product_ids": ["p0"]}, "'photo_label'"),
    ({"query_id": "q", "kind": "review", "product_ids": ["p0"]}, "kind review needs text"),
    ({"query_id": "q", "kind": "text", "text": "x", "product_ids": "p0"}, 'write a list, for example ["p0"]'),
    ({"query_id": "q", "kind": "text", "text": "x", "product_ids": ["ghost"]}, "not in the catalogue: ghost"),
    ({"query_id": "q", "kind": "link", "anchor_ids": ["ghost"], "product_ids": ["p0"]}, "not in the catalogue: ghost"),
    ({"query_id": "q", "kind": "photo", "image": "../x.png", "product_ids": ["p0"]}, "leaves the catalogue's folder"),
    ({"query_id": "q", "kind": "text", "text": "x", "product_ids": ["p0"], "timestamp": "noon"}, "timestamp"),
    ({"query_id": "q", "kind": "text", "text": "x", "product_ids": ["p0"], "augmented": "no"}, "true or false"),
    ({"query_id": "q", "kind": "text", "text": "x", "product_ids": ["p0"], "signal": "sniff"}, "signal"),
    ({"query_id": "q", "kind": "photo", "image": "x.png", "product_ids": ["p0"], "box": [5, 5, 5, 9]}, "is empty"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_QUERIES, ids=[reason for _, reason in BAD_QUERIES])
def test_bad_query_stops_or_is_set_aside(tmp_path, row, reason):
    good = {"query_id": "q0", "kind": "text", "text": "y", "product_ids": ["p0"]}
    folder = write_folder(tmp_path, [product()], [good, row])
    text = refusal(folder)
    assert "queries.jsonl:2" in text
    assert reason in text
    catalog = load(folder, on_error="quarantine")
    assert [query.query_id for query in catalog.queries] == ["q0"]
    assert reason in catalog.bad_rows[0].reason


def test_bytes_that_are_not_utf8(tmp_path):
    (tmp_path / "products.jsonl").write_bytes(b'{"product_id": "p0", "title": "\xff"}\n')
    assert "not UTF-8" in refusal(tmp_path)


def test_one_error_tells_ten_rows_and_counts_the_rest(tmp_path):
    text = refusal(write_folder(tmp_path, [{"product_id": f"p{number}", "category": "x"} for number in range(25)]))
    assert "25 row(s)" in text
    assert text.count("products.jsonl:") == 10
    assert "products.jsonl:10" in text
    assert "products.jsonl:11" not in text
    assert "and 15 more" in text


def test_queries_follow_their_products_out(tmp_path):
    queries = [
        {"query_id": "lost", "kind": "text", "text": "x", "product_ids": ["bad"]},
        {"query_id": "half", "kind": "text", "text": "x", "product_ids": ["bad", "p0"]},
    ]
    folder = write_folder(tmp_path, [product(), {"product_id": "bad", "title": "x", "category": "y"}], queries)
    assert "products.jsonl:2" in refusal(folder)
    catalog = load(folder, on_error="quarantine")
    assert [(query.query_id, query.product_ids) for query in catalog.queries] == [("half", ("p0",))]
    assert [bad.product_id for bad in catalog.bad_rows] == ["bad", "lost"]
    assert any("left out" in note for note in catalog.notes)


def test_first_of_two_equal_ids_stays(tmp_path):
    catalog = load(write_folder(tmp_path, [product(title="first"), product(title="second")]), on_error="quarantine")
    assert [one.title for one in catalog.products] == ["first"]
    assert catalog.bad_rows[0].product_id == "p0"


def test_nothing_usable_is_an_empty_catalogue_even_under_quarantine(tmp_path):
    with pytest.raises(CatalogError, match="empty catalogue") as caught:
        load(write_folder(tmp_path, [{"title": "x"}]), on_error="quarantine")
    assert "no product_id" in str(caught.value)
