"""Any table by a column map: Parquet, Arrow, CSV and JSON lines read alike, and a wrong map is told."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from catalog import CatalogError, ConfigError
from catalog.config import CatalogConfig
from catalog.sources import tables
from catalog.sources.column_map import ColumnMap, read_column_map
from catalog.sources.files import find_files
from tests.catalog.pictures import picture_bytes
from tests.catalog.published import HITS_HEADER, load, write_arrow, write_csv, write_lines, write_parquet

MAPS = Path(__file__).resolve().parents[2] / "configs" / "columns"
ROWS = [
    {"sku": "001", "style": "s1", "name": "Red Tee", "path": "Tops > Tees", "colour": "red", "sizes": "S|M"},
    {"sku": "002", "style": "s1", "name": "Blue Tee", "path": "Tops > Tees", "colour": "blue", "sizes": "L"},
    {"sku": "003", "style": "s2", "name": "Jeans", "path": "Bottoms", "colour": None, "sizes": ""},
]
MAP = {
    "product_id": "sku",
    "group_id": "style",
    "title": "name",
    "category": {"columns": ["path"], "separator": ">"},
    "attributes": {"columns": ["colour", "sizes"], "value_separator": "|"},
}


def by_map(tmp_path, path, column_map=MAP, **config):
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(column_map), encoding="utf-8")
    return load("columns", path, tmp_path / "work", columns=str(tmp_path / "map.yaml"), **config)


def written(folder, kind, rows=ROWS):
    match kind:
        case "parquet":
            return write_parquet(folder / "a.parquet", rows)
        case "arrow":
            return write_arrow(folder / "data-00000-of-00001.arrow", rows)
        case "csv":
            return write_csv(folder / "a.csv", rows)
        case _:
            return write_lines(folder / "a.jsonl", rows)


# --- what is read


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv", "jsonl"])
def test_every_format_reads_the_same(tmp_path, kind):
    catalog = by_map(tmp_path, written(tmp_path / "data", kind))
    red, blue, jeans = catalog.products
    assert (red.product_id, red.group_id, red.title) == ("001", "s1", "Red Tee")
    assert red.category == ("Tops", "Tees")
    assert red.attributes == {"colour": "red", "sizes": ("S", "M")}
    assert blue.attributes == {"colour": "blue", "sizes": "L"}
    assert jeans.category == ("Bottoms",)
    assert jeans.attributes == {}
    assert catalog.digest == by_map(tmp_path, written(tmp_path / "other", "jsonl")).digest


def test_what_hugging_face_saves_is_read_with_its_splits(tmp_path):
    write_arrow(tmp_path / "set" / "train" / "data-00000-of-00001.arrow", ROWS[:2])
    write_arrow(tmp_path / "set" / "test" / "data-00000-of-00001.arrow", ROWS[2:])
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [p.product_id for p in by_map(tmp_path, tmp_path / "set").products] == ["003", "001", "002"]
    one = by_map(tmp_path, tmp_path / "set", MAP | {"files": ["train/*.arrow"]})
    assert [product.product_id for product in one.products] == ["001", "002"]


def test_what_hugging_face_caches_beside_saved_rows_is_not_read_again(tmp_path):
    write_arrow(tmp_path / "data" / "data-00000-of-00001.arrow", ROWS)
    write_arrow(tmp_path / "data" / "cache-1f2e3d.arrow", [row | {"sku": f"again-{row['sku']}"} for row in ROWS])
    assert len(by_map(tmp_path, tmp_path / "data").products) == len(ROWS)


@pytest.mark.parametrize("name", ["about.json", ".cache/rows.parquet", "_temporary/rows.parquet"])
def test_what_lies_beside_the_rows_is_not_read_with_them(tmp_path, name):
    written(tmp_path / "data", "parquet")
    if name.endswith(".json"):
        (tmp_path / "data" / name).write_text('{"sku": "other", "name": "no row"}')
    else:
        write_parquet(tmp_path / "data" / name, [ROWS[0] | {"sku": "other"}])
    assert len(by_map(tmp_path, tmp_path / "data").products) == len(ROWS)


def test_a_column_that_comes_late_in_json_lines_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("catalog.sources.tables.LOOKED_AT_ROWS", 3)
    monkeypatch.setattr("catalog.sources.files.LOOKED_AT_ROWS", 3)
    rows = [{"sku": str(number), "name": "x"} for number in range(9)] + [{"sku": "9", "name": "x", "style": "s"}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    column_map = {"product_id": "sku", "title": "name", "group_id": "style"}
    assert by_map(tmp_path, path, column_map).products[-1].group_id == "s"
    with pytest.raises(ConfigError, match="did you mean name"):
        by_map(tmp_path, path, column_map | {"title": "nam"})
    with pytest.raises(ConfigError, match="style"):
        by_map(tmp_path, path, column_map, max_rows=5)


def test_a_bad_first_row_does_not_hide_the_columns_of_a_csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("sku,name\n1,two,three\n2,鞋\n".encode())
    catalog = by_map(tmp_path, path, {"product_id": "sku", "title": "name"}, on_error="quarantine")
    assert [product.title for product in catalog.products] == ["鞋"]
    assert [row.where for row in catalog.bad_rows] == ["a.csv:2"]


@pytest.mark.parametrize("encoding", ["utf-16", "gb18030"])
def test_a_csv_whose_header_is_in_another_encoding_is_refused_with_the_way_out(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes("编号,标题\n1,红色连衣裙\n".encode(encoding))
    with pytest.raises(CatalogError, match=r"a\.csv:1[\s\S]*CSV in UTF-8") as caught:
        by_map(tmp_path, path, {"product_id": "编号", "title": "标题"})
    str(caught.value).encode("utf-8")  # what it shows of the file can be printed


def test_an_arrow_file_is_read_like_an_arrow_stream(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    (tmp_path / "data").mkdir()
    with pa.ipc.new_file(str(tmp_path / "data" / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert by_map(tmp_path, tmp_path / "data").digest == by_map(tmp_path, written(tmp_path / "b", "arrow")).digest


def test_categories_come_from_a_column_for_each_level(tmp_path):
    rows = [{"sku": 1, "name": "a", "one": "Tops", "two": "Tees"}, {"sku": 2, "name": "b", "one": "Tops", "two": None}]
    column_map = {"product_id": "sku", "title": "name", "category": {"columns": ["one", "two"]}}
    catalog = by_map(tmp_path, write_parquet(tmp_path / "a.parquet", rows), column_map)
    assert [product.category for product in catalog.products] == [("Tops", "Tees"), ("Tops",)]


@pytest.mark.parametrize("cell", [{"color": "red", "fit": ["slim", "long"]}, "color=red;fit=slim/long"])
def test_attributes_come_from_an_object_its_json_or_a_text_of_pairs(tmp_path, cell):
    spec = {"column": "specs", "pair_separator": ";", "key_separator": "=", "value_separator": "/"}
    column_map = {"product_id": "sku", "title": "name", "attributes": spec}
    cells = [cell, json.dumps(cell)] if isinstance(cell, dict) else [cell]
    rows = [{"sku": number, "name": "x", "specs": one} for number, one in enumerate(cells)]
    for product in by_map(tmp_path, write_lines(tmp_path / "a.jsonl", rows), column_map).products:
        assert product.attributes == {"color": "red", "fit": ("slim", "long")}


def test_attributes_may_have_other_names_than_their_columns(tmp_path):
    column_map = MAP | {"attributes": {"columns": {"color": "colour"}}}
    catalog = by_map(tmp_path, written(tmp_path / "d", "parquet"), column_map)
    assert catalog.products[0].attributes == {"color": "red"}
    assert catalog.products[0].extra == {"sizes": "S|M"}


def test_pictures_come_from_paths_lists_and_bytes(tmp_path):
    for name in "ab":
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.png").write_bytes(picture_bytes(ord(name)))
    rows = [{"sku": 1, "main": "a.png", "more": ["b.png"]}, {"sku": 2, "main": "b.png|a.png", "more": None}]
    column_map = {"product_id": "sku", "images": {"columns": ["main", "more"], "separator": "|"}}
    catalog = by_map(tmp_path, write_parquet(tmp_path / "data" / "x.parquet", rows), column_map)
    assert [product.images for product in catalog.products] == [("a.png", "b.png"), ("b.png", "a.png")]
    assert {record.status for record in catalog.images.values()} == {"ok"}
    held = [{"sku": 1, "main": picture_bytes(1)}]
    other = by_map(
        tmp_path, write_parquet(tmp_path / "y.parquet", held), {"product_id": "sku", "images": {"columns": ["main"]}}
    )
    assert other.photo(other.products[0].images[0]).read_bytes() == picture_bytes(1)


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "a\\b.png", "file:///a.png"])
def test_a_picture_outside_the_folder_is_a_bad_row(tmp_path, path):
    column_map = {"product_id": "sku", "title": "name", "images": {"columns": ["main"]}}
    rows = [{"sku": 1, "name": "x", "main": path}]
    with pytest.raises(CatalogError, match="1 row"):
        by_map(tmp_path, write_lines(tmp_path / "a.jsonl", rows), column_map)


def test_bytes_that_no_key_names_are_not_read(tmp_path):
    rows = [row | {"thumb": b"\xff" * 100} for row in ROWS]
    catalog = by_map(tmp_path, write_parquet(tmp_path / "a.parquet", rows))
    assert all("thumb" not in product.extra for product in catalog.products)
    assert any("thumb" in note and "left out" in note for note in catalog.notes)


def test_extra_keeps_the_columns_it_lists_and_no_other(tmp_path):
    rows = [row | {"season": "AW", "rank": 3} for row in ROWS]
    catalog = by_map(tmp_path, write_parquet(tmp_path / "a.parquet", rows), MAP | {"extra": ["season"]})
    assert [product.extra for product in catalog.products] == [{"season": "AW"}] * 3


def test_rows_come_in_batches_and_not_as_a_whole_file(tmp_path, monkeypatch):
    rows = [{"sku": number, "name": f"n{number}"} for number in range(5000)]
    path = write_parquet(tmp_path / "a.parquet", rows)
    sizes = []

    def counted(batches, name):
        for batch in batches:
            sizes.append(batch.num_rows)
            yield from whole(iter([batch]), name)

    whole = tables._batch_rows
    monkeypatch.setattr(tables, "_batch_rows", counted)
    catalog = by_map(tmp_path, path, {"product_id": "sku", "title": "name"}, max_rows=10)
    assert len(catalog.products) == 10
    assert sizes == [1024]


def test_two_products_of_one_id_follow_the_map(tmp_path):
    rows = [{"sku": 1, "name": "a"}, {"sku": 1, "name": "a"}, {"sku": 1, "name": "b"}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    base = {"product_id": "sku", "title": "name"}
    faults = {
        rule: len(by_map(tmp_path, path, base | {"repeats": rule}, on_error="quarantine").bad_rows)
        for rule in ("refuse", "same", "first")
    }
    assert faults == {"refuse": 2, "same": 1, "first": 0}


# --- queries


def test_queries_in_their_own_file(tmp_path):
    written(tmp_path / "set", "parquet")
    asked = [{"words": "tee", "bought": ["001", "002"]}, {"words": "denim", "bought": ["003"]}]
    write_parquet(tmp_path / "set" / "q" / "asked.parquet", asked)
    asks = {"files": ["q/*.parquet"], "text": "words", "product_ids": "bought", "every_signal": "purchase"}
    catalog = by_map(tmp_path, tmp_path / "set", MAP | {"queries": asks})
    assert [(query.text, query.product_ids) for query in catalog.queries] == [
        ("tee", ("001", "002")),
        ("denim", ("003",)),
    ]


def test_a_query_keeps_its_name_when_the_data_grows(tmp_path):
    column_map = {"product_id": "sku", "title": "name", "queries": {"text": "asked"}}
    rows = [{"sku": number, "name": "n", "asked": f"q{number % 2}"} for number in range(4)]
    small = by_map(tmp_path, write_lines(tmp_path / "a.jsonl", rows[:2]), column_map)
    large = by_map(tmp_path, write_lines(tmp_path / "b.jsonl", rows[::-1]), column_map)
    names = {query.text: query.query_id for query in small.queries}
    assert names == {query.text: query.query_id for query in large.queries}


LOG = {"product_id": "sku", "title": "name", "repeats": "first"}


def asked_of(tmp_path, rows, asks, **config):
    rows = [{"name": "n", "words": "红色连衣裙"} | row for row in rows]
    column_map = LOG | {"queries": {"text": "words"} | asks}
    return by_map(tmp_path, write_lines(tmp_path / "log.jsonl", rows), column_map, **config)


@pytest.mark.parametrize("query_id", [None, "session"])
def test_a_click_is_not_made_a_purchase_by_standing_beside_one(tmp_path, query_id):
    rows = [
        {"sku": 1, "event": "purchase", "session": "s"},
        {"sku": 2, "event": "click", "session": "s"},
        {"sku": 3, "event": "purchase", "session": "s"},
    ]
    asks = {"signal": "event"} | ({"query_id": query_id} if query_id else {})
    catalog = asked_of(tmp_path, rows, asks)
    found = {str(query.signal): query for query in catalog.queries}
    assert {signal: query.product_ids for signal, query in found.items()} == {"purchase": ("1", "3"), "click": ("2",)}
    assert not query_id or {query.query_id for query in catalog.queries} == {"s/purchase", "s/click"}


def test_purchases_at_two_times_are_two_queries_that_keep_their_names(tmp_path):
    rows = [{"sku": 1, "at": 100}, {"sku": 2, "at": 200.0}, {"sku": 3, "at": "100"}]
    catalog = asked_of(tmp_path, rows, {"timestamp": "at"})
    assert {query.timestamp: query.product_ids for query in catalog.queries} == {100: ("1", "3"), 200: ("2",)}
    again = asked_of(tmp_path, rows[::-1], {"timestamp": "at"})
    assert {query.query_id: query.timestamp for query in again.queries} == {
        query.query_id: query.timestamp for query in catalog.queries
    }


@pytest.mark.parametrize("order", [1, -1])
def test_a_session_is_dated_by_its_latest_row_so_that_no_later_answer_is_taken_for_an_early_one(tmp_path, order):
    rows = [{"sku": 1, "session": "s", "at": "99"}, {"sku": 2, "session": "s", "at": "1000"}][::order]
    (query,) = asked_of(tmp_path, rows, {"query_id": "session", "timestamp": "at"}).queries
    assert (query.timestamp, set(query.product_ids)) == (1000.0, {"1", "2"})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"words": "黑色皮鞋"}, "another text"),
        ({"much": 2}, "another weight"),
        ({"at": "gestern"}, "at must be a number"),
        ({"event": 7}, "event must be text"),
        ({"event": "bought"}, "signal"),
    ],
)
def test_a_row_that_disagrees_with_its_query_is_a_bad_row_that_says_how(tmp_path, more, told):
    first = {"sku": 1, "session": "s", "much": 1, "at": 5, "event": "cart"}
    asks = {"query_id": "session", "weight": "much", "timestamp": "at", "signal": "event"}
    catalog = asked_of(tmp_path, [first, first | {"sku": 2} | more], asks, on_error="quarantine")
    (bad,) = catalog.bad_rows
    assert bad.where == "log.jsonl:2"
    assert told in bad.reason
    assert [query.product_ids for query in catalog.queries] == [("1",)]


def test_photo_labels_need_no_product_ids(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "p.png").write_bytes(picture_bytes(0))
    write_lines(tmp_path / "set" / "products.jsonl", [{"sku": 1, "name": "n"}])
    write_lines(tmp_path / "set" / "labels.jsonl", [{"photo": "p.png", "is": "Dress"}])
    asks = {"files": ["labels.jsonl"], "image": "photo", "label": "is"}
    catalog = by_map(tmp_path, tmp_path / "set", {"product_id": "sku", "title": "name", "queries": asks})
    assert [(str(query.kind), query.label) for query in catalog.queries] == [("photo_label", "Dress")]


# --- maps and paths that are wrong


def test_a_column_that_the_data_does_not_have_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="does not have") as caught:
        by_map(tmp_path, written(tmp_path / "d", "parquet"), MAP | {"title": "Name", "group_id": "stile"})
    told = str(caught.value)
    assert "title: Name (did you mean name?)" in told
    assert "group_id: stile (did you mean style?)" in told


@pytest.mark.parametrize(
    ("column_map", "told"),
    [
        ({"product_id": "sku"}, "title or images"),
        ({"title": "name"}, "product_id"),
        (MAP | {"catgory": {}}, "did you mean `category`?"),
        (MAP | {"category": {"columns": []}}, "category.columns"),
        (MAP | {"queries": {"query_id": "a"}}, "text or an image column"),
        (MAP | {"schema_version": 2}, "schema_version"),
        ([], "no mapping"),
    ],
)
def test_a_wrong_map_is_refused(tmp_path, column_map, told):
    with pytest.raises(ConfigError) as caught:
        by_map(tmp_path, written(tmp_path / "d", "parquet"), column_map)
    assert told in str(caught.value)


def test_a_map_that_is_not_there_or_no_yaml_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_column_map(str(tmp_path / "no.yaml"))
    (tmp_path / "bad.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        read_column_map(str(tmp_path / "bad.yaml"))


def test_files_of_several_formats_are_not_guessed_between(tmp_path):
    written(tmp_path / "d", "parquet")
    written(tmp_path / "d", "csv")
    with pytest.raises(CatalogError, match="several formats"):
        by_map(tmp_path, tmp_path / "d")
    assert len(by_map(tmp_path, tmp_path / "d", MAP | {"files": ["*.csv"]}).products) == 3


@pytest.mark.parametrize("made", [None, "empty", "text"])
def test_a_path_without_rows_is_refused(tmp_path, made):
    if made:
        (tmp_path / "d").mkdir()
    if made == "text":
        (tmp_path / "d" / "notes.txt").write_text("x")
    with pytest.raises(CatalogError):
        by_map(tmp_path, tmp_path / "d")


def test_a_file_without_rows_is_an_empty_catalogue(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS).slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match="empty catalogue"):
        by_map(tmp_path, tmp_path / "a.parquet")


def test_a_data_set_of_the_hub_is_read_from_disk_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CatalogError, match="not on this disk") as caught:
        find_files("hub:nobody/no-such-set")
    assert "hf download nobody/no-such-set --repo-type dataset" in str(caught.value)


def test_the_configuration_asks_for_what_a_source_needs():
    for fields in (
        {"source": "mbe"},
        {"source": "columns", "path": "x"},
        {"source": "folder", "path": "x", "image_root": "y"},
        {"source": "marqo", "path": "x", "query_columns": {"text": "q"}},
        {"source": "shopify", "path": "x", "columns": "map.yaml"},
    ):
        with pytest.raises(ValueError, match=r"needed|no effect"):
            CatalogConfig(**fields)


# --- shipped maps


@pytest.mark.parametrize("path", sorted(MAPS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_maps_are_right(path):
    assert isinstance(read_column_map(str(path)), ColumnMap)


def test_the_shipped_example_shows_every_key():
    text = (MAPS / "example.yaml").read_text(encoding="utf-8")
    keys = {*ColumnMap.model_fields}
    for part in ("category", "attributes", "images", "queries"):
        section = ColumnMap.model_fields[part].annotation.__args__[0]
        keys |= set(section.model_fields)
    assert [key for key in sorted(keys - {"position", "label"}) if f"{key}:" not in text] == []


def test_the_shipped_map_of_marqo_reads_as_its_source(tmp_path):
    from tests.catalog.published import IMAGE, hit

    path = write_parquet(tmp_path / "h.parquet", [hit(1, "mug", 2), hit(2, "mug", 1)], image=IMAGE)
    assert tuple(pq.read_schema(path).names) == HITS_HEADER
    mapped = load("columns", path, tmp_path / "a", columns=str(MAPS / "marqo.yaml"))
    assert mapped.digest == load("marqo", path, tmp_path / "b").digest
