"""The folder source: what it accepts, and that JSON lines and Parquet read the same."""

import datetime
import json
import logging

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import CatalogError, Query, QueryKind, Signal
from catalog.catalog import resolve_root
from catalog.rows import Product
from tests.catalog.folder_source import load
from tests.catalog.pictures import picture_bytes, product, write_folder


def only(folder, *rows, **config):
    return load(write_folder(folder, list(rows)), **config).products[0]


# --- accepted


def test_smallest_catalogue(tmp_path):
    catalog = load(write_folder(tmp_path / "shop", [product()]))
    assert catalog.name == "shop"
    assert catalog.products == (Product(product_id="p0", group_id="p0", title="Product 0"),)
    assert catalog.notes == ()
    assert catalog.bad_rows == ()


@pytest.mark.parametrize(
    "row",
    [
        {"title": None, "images": ["images/0.png"]},
        {"title": "", "images": ["images/0.png"]},
        {"images": []},
        {"attributes": {}},
        {"attributes": None, "category": None, "price": None, "description": None},
    ],
)
def test_product_without_title_image_or_attributes(tmp_path, row):
    folder = write_folder(tmp_path, [product(**row)], images={"images/0.png": picture_bytes()})
    found = load(folder).products[0]
    assert found.attributes == {}
    assert bool(found.title) != bool(found.images)


@pytest.mark.parametrize("title", ["👗 Sundress 🌞", "قميص رجالي", "חולצה \u202aXL\u202c", "女士 连衣裙"])
def test_titles_of_the_world(tmp_path, title):
    assert only(tmp_path, product(title=title)).title == title


def test_control_characters_are_stripped_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        catalog = load(write_folder(tmp_path, [product(), json.dumps(product(1, title="Red\u0000 dr\u001bess\ud83d"))]))
    assert catalog.products[1].title == "Red dress"
    assert catalog.notes == ("control characters stripped from title in 1 row(s), first products.jsonl:2",)
    assert "control characters" in caplog.text


def test_long_title_is_cut_with_a_warning(tmp_path):
    catalog = load(write_folder(tmp_path, [product(title="ab" * 50_000)]), max_title_chars=500)
    assert catalog.products[0].title == "ab" * 250
    assert "title cut to 500 characters" in catalog.notes[0]


def test_bom_blank_lines_and_crlf(tmp_path):
    text = "\ufeff" + json.dumps(product()) + "\r\n\r\n" + json.dumps(product(1)) + "\r\n"
    (tmp_path / "products.jsonl").write_bytes(text.encode())
    assert [one.product_id for one in load(tmp_path).products] == ["p0", "p1"]


def test_loose_values(tmp_path):
    row = {
        "product_id": 17,
        "title": " Bag ",
        "price": "12.50",
        "attributes": {"size": 4, "weight": 1.5, "vegan": True, "none": None, "many": ["a", 2, ""], "empty": []},
        "category": ["Bags", "", None, "Totes"],
        "timestampish": float("nan"),
    }
    found = only(tmp_path, row)
    assert (found.product_id, found.group_id, found.title, found.price) == ("17", "17", "Bag", 12.5)
    assert found.attributes == {"size": "4", "weight": "1.5", "vegan": "Yes", "many": ("a", "2")}
    assert found.category == ("Bags", "Totes")
    assert found.extra == {}


def test_unknown_columns_are_kept_and_named_once(tmp_path):
    rows = [product(number, licence="CC0", titel="x") for number in range(3)]
    catalog = load(write_folder(tmp_path, rows))
    assert catalog.products[2].extra == {"licence": "CC0", "titel": "x"}
    assert catalog.notes == ("unknown columns of products.jsonl kept in extra: licence, titel",)
    del rows[0]["title"], rows[1]["title"], rows[2]["title"]
    with pytest.raises(CatalogError, match="title or at least one image"):
        load(write_folder(tmp_path, rows))


def test_near_miss_is_pointed_out(tmp_path):
    catalog = load(write_folder(tmp_path, [product(atributes={"a": "b"})]))
    assert "atributes (did you mean attributes?)" in catalog.notes[0]


def test_image_info_gives_the_roles(tmp_path):
    info = [{"role": "main", "bg": "white", "w": 24, "h": 18}, {"role": "back"}]
    row = product(images=["a.png", "b.png"], image_info=info)
    found = only(write_folder(tmp_path, images={"a.png": picture_bytes(0), "b.png": picture_bytes(1)}), row)
    assert found.image_roles == ("main", "back")
    assert found.extra == {"image_info": [{"bg": "white", "w": 24, "h": 18}, {}]}


def test_image_info_is_cleaned_as_every_other_cell(tmp_path):
    row = json.dumps(product(images=["a.png"], image_info=[{"role": "main", "shot by": "A\ud800nn\u0000e"}]))
    folder = write_folder(tmp_path, [row], images={"a.png": picture_bytes()})
    catalog = load(folder)
    assert catalog.products[0].extra == {"image_info": [{"shot by": "Anne"}]}
    assert len(catalog.digest) == 64


def test_query_aliases_and_kinds(tmp_path):
    queries = [
        {"query_id": "q0", "type": "link", "link": "upsell", "anchor_ids": ["p0"], "product_ids": ["p1"]},
        {"query_id": "q1", "type": "review", "text": "Love\nit", "rating": 5, "product_ids": ["p1"]},
        {"query_id": 2, "kind": "text", "text": "bag", "product_ids": ["p0", "p0"], "signal": "cart", "weight": "2"},
    ]
    link, review, text = load(write_folder(tmp_path, [product(), product(1)], queries)).queries
    assert (link.kind, link.extra, link.anchor_ids) == (QueryKind.LINK, {"link": "upsell"}, ("p0",))
    assert (review.text, review.extra) == ("Love\nit", {"rating": 5})
    assert (text.query_id, text.product_ids, text.signal, text.weight) == ("2", ("p0",), Signal.CART, 2.0)


def test_labelled_photos_alone_are_an_evaluation_set(tmp_path):
    queries = [{"query_id": "q", "type": "photo_label", "image": "images/a.png", "label": "hat", "split": "test"}]
    catalog = load(write_folder(tmp_path, None, queries, {"images/a.png": picture_bytes()}))
    assert catalog.products == ()
    assert catalog.queries[0].extra == {"split": "test"}
    assert catalog.images["images/a.png"].status == "ok"


def test_memory_root():
    fs = fsspec.filesystem("memory")
    fs.pipe("/shop/products.jsonl", json.dumps(product(images=["images/a.png"])).encode())
    fs.pipe("/shop/images/a.png", picture_bytes(3))
    catalog = load("memory://shop")
    assert (catalog.name, catalog.image_root) == ("shop", "memory://shop")
    assert next(catalog.items()).photos[0].load().size == (24, 18)


def test_root_follows_moon_data(tmp_path, monkeypatch):
    write_folder(tmp_path / "shop", [product()])
    monkeypatch.setenv("MOON_DATA", str(tmp_path))
    catalog = load("data/shop")
    assert catalog.image_root == "data/shop"
    assert catalog.root == str(tmp_path / "shop")


def test_no_absolute_path_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(write_folder(tmp_path / "shop", [product()])).image_root == "shop"


def test_an_absolute_path_below_data_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOON_DATA", "/elsewhere")
    catalog = load(write_folder(tmp_path / "data" / "shop", [product()]))
    assert not catalog.image_root.startswith("/")
    assert resolve_root(catalog.image_root) == catalog.root == str(tmp_path / "data" / "shop")


# --- JSON lines and Parquet read the same

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda text: text.strip())
rows = st.lists(
    st.fixed_dictionaries(
        {"title": st.text(max_size=12).map(lambda text: f"t{text}")},
        optional={
            "group_id": st.sampled_from(["g1", "g2"]),
            "category": st.lists(words, max_size=3),
            "attributes": st.dictionaries(st.sampled_from(["a", "b"]), words, max_size=2),
            "price": st.floats(0, 1e6),
            "rank": st.integers(-5, 5),
            "description": st.none() | st.text(max_size=9),
        },
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(rows)
def test_json_lines_and_parquet_are_equal(tmp_path_factory, found):
    found = [{"product_id": f"p{number}", **row} for number, row in enumerate(found)]
    lines, table = tmp_path_factory.mktemp("lines"), tmp_path_factory.mktemp("table")
    write_folder(lines, found)
    columns = list(dict.fromkeys(name for row in found for name in row))
    packed = {name: [row.get(name) for row in found] for name in columns}
    if "attributes" in packed:
        packed["attributes"] = [json.dumps(value) for value in packed["attributes"]]
    pq.write_table(pa.table(packed), table / "products.parquet")
    one, other = load(lines), load(table)
    assert one.products == other.products
    assert one.digest == other.digest


def test_parquet_structs_maps_and_times(tmp_path):
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    pq.write_table(
        pa.table(
            {
                "product_id": pa.array([1, 2]),
                "title": ["a", "b"],
                "attributes": pa.array([{"color": "Red", "size": None}, {"color": None, "size": "M"}]),
                "seen": pa.array([when, None]),
            }
        ),
        tmp_path / "products.parquet",
    )
    pq.write_table(
        pa.table({"query_id": ["q"], "kind": ["text"], "text": ["x"], "product_ids": [[2]], "timestamp": [when]}),
        tmp_path / "queries.parquet",
    )
    catalog = load(tmp_path)
    assert [one.attributes for one in catalog.products] == [{"color": "Red"}, {"size": "M"}]
    assert catalog.products[0].extra == {"seen": "2026-01-02 00:00:00+00:00"}
    assert catalog.queries[0].timestamp == when.timestamp()


def test_every_query_field_can_be_read_back(tmp_path):
    query = Query(
        query_id="q",
        kind=QueryKind.BOTH,
        text="x",
        image="a.png",
        box=(0, 0, 5, 5),
        product_ids=("p0",),
        timestamp=3.5,
        weight=0.5,
        signal=Signal.PURCHASE,
        augmented=True,
        extra={"deep": {"list": [1, "two"]}},
    )
    folder = write_folder(tmp_path, [product()], [query.model_dump(mode="json")], {"a.png": picture_bytes()})
    assert load(folder).queries == (query,)
