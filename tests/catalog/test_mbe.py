"""MBE as published: its fields, its attribute syntax, and the odd cases of both."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError, ConfigError, QueryKind, Signal
from catalog.config import QueryColumns
from catalog.sources.attribute_text import PairSyntax, even_spaces, parse_pairs
from tests.catalog.pictures import picture_bytes
from tests.catalog.published import load, mbe_row, write_fetched, write_lines


def only(tmp_path, row, **config):
    return load("mbe", write_lines(tmp_path / "eval.jsonl", [row]), tmp_path, **config).products[0]


# --- documents


def test_a_document_becomes_a_product(tmp_path):
    product = only(tmp_path, mbe_row(3))
    assert product.product_id == "600003"
    assert product.title == "夏季新款碎花连衣裙 3"
    assert product.category == ("服饰", "女装", "裙装", "连衣裙", "碎花连衣裙")
    assert product.attributes == {"颜色": "红色", "尺码": ("S", "M", "L"), "材质": "棉"}


def test_a_photograph_that_is_not_on_disk_is_left_out_and_its_url_kept(tmp_path):
    catalog = load("mbe", write_lines(tmp_path / "eval.jsonl", [mbe_row(0), mbe_row(1)]), tmp_path)
    assert [product.images for product in catalog.products] == [(), ()]
    assert catalog.products[1].extra["image_urls"] == ["https://img.example.com/1.jpg"]
    assert any("not on disk" in note and "in 2 row(s)" in note and "fetch-images" in note for note in catalog.notes)


def test_a_fetched_photograph_is_found_by_its_url(tmp_path):
    urls = ["https://img.example.com/0.jpg", "https://img.example.com/1.jpg"]
    root = write_fetched(tmp_path / "fetched", {urls[0]: picture_bytes(0), urls[1]: "404"})
    rows = write_lines(tmp_path / "eval.jsonl", [mbe_row(0), mbe_row(1)])
    catalog = load("mbe", rows, tmp_path, image_root=str(root))
    assert [len(product.images) for product in catalog.products] == [1, 0]
    record = catalog.images[catalog.products[0].images[0]]
    assert (record.status, record.num_bytes) == ("ok", len(picture_bytes(0)))
    assert catalog.photo(catalog.products[0].images[0]).read_bytes() == picture_bytes(0)


def test_a_url_without_a_scheme_is_fetched_over_https(tmp_path):
    root = write_fetched(tmp_path / "fetched", {"https://img.example.com/0.jpg": picture_bytes(0)})
    product = only(tmp_path, mbe_row(doc_image="//img.example.com/0.jpg"), image_root=str(root))
    assert len(product.images) == 1


def test_a_url_with_spaces_is_a_url(tmp_path):
    url = "https://img.example.com/红 裙 1.jpg"
    path = write_lines(tmp_path / "a.jsonl", [mbe_row(doc_image=f" {url} ")])
    assert load("mbe", path, tmp_path).products[0].extra["image_urls"] == [url]
    root = write_fetched(tmp_path / "fetched", {url: picture_bytes(1)})
    assert len(load("mbe", path, tmp_path, image_root=str(root)).products[0].images) == 1


def test_a_path_is_relative_to_the_folder_of_the_photographs(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(picture_bytes(1))
    product = only(tmp_path, mbe_row(doc_image="a.png"), image_root=str(tmp_path / "photos"))
    assert product.images == ("a.png",)


def test_a_damaged_manifest_is_refused_with_its_line(tmp_path):
    root = write_fetched(tmp_path / "fetched", {"https://img.example.com/0.jpg": picture_bytes(0)})
    with (root / "manifest.jsonl").open("a") as stream:
        stream.write('{"url": "htt\n')
    with pytest.raises(CatalogError, match="manifest") as caught:
        only(tmp_path, mbe_row(), image_root=str(tmp_path / "fetched"))
    assert "manifest.jsonl:2" in str(caught.value)


def test_the_last_row_of_a_url_counts_and_a_line_cut_by_a_kill_does_not(tmp_path):
    url = "https://img.example.com/0.jpg"
    root = write_fetched(tmp_path / "fetched", {url: picture_bytes(0)})
    with (root / "manifest.jsonl").open("a") as stream:
        stream.write('{"url": "https://img.exa')
    assert len(only(tmp_path, mbe_row(), image_root=str(root)).images) == 1
    text = (root / "manifest.jsonl").read_text().splitlines()[0]
    later = json.dumps(json.loads(text) | {"path": None, "status": "failed"})
    (root / "manifest.jsonl").write_text(f"{text}\n{later}\n")
    assert only(tmp_path, mbe_row(), image_root=str(root)).images == ()


def test_a_folder_of_photographs_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="does not exist"):
        only(tmp_path, mbe_row(), image_root=str(tmp_path / "nowhere"))


def test_a_null_title_is_allowed_where_the_photograph_is_on_disk(tmp_path):
    root = write_fetched(tmp_path / "fetched", {"https://img.example.com/0.jpg": picture_bytes(0)})
    product = only(tmp_path, mbe_row(doc_title=None), image_root=str(root))
    assert product.title is None
    assert len(product.images) == 1


def test_a_null_title_without_a_photograph_is_a_bad_row_that_says_why(tmp_path):
    rows = write_lines(tmp_path / "eval.jsonl", [mbe_row(0, doc_title=None), mbe_row(1)])
    catalog = load("mbe", rows, tmp_path, on_error="quarantine")
    assert [product.product_id for product in catalog.products] == ["600001"]
    assert [row.where for row in catalog.bad_rows] == ["eval.jsonl:1"]
    assert "not on disk" in catalog.bad_rows[0].reason
    with pytest.raises(CatalogError, match="1 row"):
        load("mbe", rows, tmp_path)


def test_a_repeated_document_counts_once_and_one_that_disagrees_is_a_fault(tmp_path):
    rows = [mbe_row(0), mbe_row(0), mbe_row(0, doc_title="别的")]
    catalog = load("mbe", write_lines(tmp_path / "e.jsonl", rows), tmp_path, on_error="quarantine")
    assert len(catalog.products) == 1
    assert any("say the same" in note for note in catalog.notes)
    assert [(row.where, "another title" in row.reason) for row in catalog.bad_rows] == [("e.jsonl:3", True)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
def test_shards_of_every_suffix_are_read_in_order_of_their_names(tmp_path, name):
    folder = tmp_path / "mbe"
    write_lines(folder / name.replace("a", "b", 1), [mbe_row(2)])
    write_lines(folder / name, [mbe_row(0), mbe_row(1)], bom=True)
    catalog = load("mbe", folder, tmp_path)
    assert [product.product_id for product in catalog.products] == ["600000", "600001", "600002"]


def test_a_json_array_is_refused_with_the_way_out(tmp_path):
    write_lines(tmp_path / "a.json", ["[", "{}", "]"])
    with pytest.raises(CatalogError, match="JSON lines") as caught:
        load("mbe", tmp_path / "a.json", tmp_path)
    assert "jq" in str(caught.value)


def test_a_packed_file_that_ends_early_is_refused(tmp_path):
    path = write_lines(tmp_path / "a.jsonl.gz", [mbe_row(number) for number in range(50)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CatalogError, match="cannot be read"):
        load("mbe", path, tmp_path)


def test_broken_lines_are_told_by_their_number(tmp_path):
    rows = write_lines(tmp_path / "e.jsonl", [mbe_row(0), '{"id": "1", "doc_ti', mbe_row(2)])
    catalog = load("mbe", rows, tmp_path, on_error="quarantine")
    assert [row.where for row in catalog.bad_rows] == ["e.jsonl:2"]
    assert len(catalog.products) == 2


def test_no_more_rows_are_read_than_asked_for(tmp_path):
    rows = write_lines(tmp_path / "e.jsonl", [mbe_row(number) for number in range(50)])
    assert len(load("mbe", rows, tmp_path, max_rows=7).products) == 7


# --- categories


@pytest.mark.parametrize(
    ("fields", "category"),
    [
        ({"doc_cate4_name": ""}, ("服饰", "女装", "裙装", "连衣裙")),
        ({"doc_cate4_name": None, "doc_cate3_name": "　"}, ("服饰", "女装", "裙装")),
        ({"doc_cate4_name": ..., "doc_cate3_name": ...}, ("服饰", "女装", "裙装")),
        ({"doc_cate1_name": "服饰"}, ("服饰", "服饰", "裙装", "连衣裙", "碎花连衣裙")),
        ({"doc_cate2_name": " 裙\u200b装\t"}, ("服饰", "女装", "裙 装", "连衣裙", "碎花连衣裙")),
    ],
)
def test_levels_run_from_the_industry_down_and_empty_ones_at_the_end_are_dropped(tmp_path, fields, category):
    catalog = load("mbe", write_lines(tmp_path / "e.jsonl", [mbe_row(**fields)]), tmp_path)
    assert catalog.products[0].category == category
    assert not any("below an empty level" in note for note in catalog.notes)


def test_a_hole_between_levels_ends_the_path_and_is_told(tmp_path):
    catalog = load("mbe", write_lines(tmp_path / "e.jsonl", [mbe_row(doc_cate2_name="")]), tmp_path)
    assert catalog.products[0].category == ("服饰", "女装")
    assert any("below an empty level" in note for note in catalog.notes)


def test_columns_that_a_copy_lacks_are_named(tmp_path):
    row = mbe_row(doc_cate4_name=..., doc_attributes=...)
    catalog = load("mbe", write_lines(tmp_path / "e.jsonl", [row]), tmp_path)
    assert any("lacks: doc_cate4_name, doc_attributes" in note for note in catalog.notes)


def test_other_columns_are_kept_and_named(tmp_path):
    catalog = load("mbe", write_lines(tmp_path / "e.jsonl", [mbe_row(score=0.5)]), tmp_path)
    assert catalog.products[0].extra["score"] == 0.5
    assert any("score" in note for note in catalog.notes)


@pytest.mark.parametrize("fields", [{"id": ...}, {"doc_title": ..., "doc_image": ...}])
def test_what_is_no_mbe_is_refused(tmp_path, fields):
    with pytest.raises(CatalogError) as caught:
        only(tmp_path, mbe_row(**fields))
    assert "moon data inspect" in str(caught.value)


# --- queries


def test_the_query_side_is_told_as_missing_until_it_is_mapped(tmp_path):
    catalog = load("mbe", write_lines(tmp_path / "e.jsonl", [mbe_row()]), tmp_path)
    assert catalog.queries == ()
    assert any("query_columns" in note for note in catalog.notes)


def test_queries_in_the_rows_of_documents_are_put_together_by_their_words(tmp_path):
    rows = [mbe_row(0, asked="红裙子"), mbe_row(1, asked=" 红裙子 "), mbe_row(2, asked=None)]
    columns = QueryColumns(text="asked", every_signal="purchase")
    catalog = load("mbe", write_lines(tmp_path / "e.jsonl", rows), tmp_path, query_columns=columns)
    (query,) = catalog.queries
    assert (query.text, query.product_ids) == ("红裙子", ("600000", "600001"))
    assert (query.kind, query.signal) == (QueryKind.TEXT, Signal.PURCHASE)
    assert "asked" not in catalog.products[0].extra


def test_queries_in_a_file_of_their_own_name_the_documents(tmp_path):
    write_lines(tmp_path / "docs.jsonl", [mbe_row(0), mbe_row(1)])
    (tmp_path / "q.png").write_bytes(picture_bytes(9))
    asked = [
        {"qid": 1, "words": "裙", "photo": None, "bought": "600000;600001", "when": 100},
        {"qid": 2, "words": None, "photo": "q.png", "bought": "600001", "when": 200},
        {"qid": 3, "words": None, "photo": None, "bought": "600001", "when": 200},
    ]
    write_lines(tmp_path / "asked.jsonl", asked)
    columns = QueryColumns(
        files=("asked.jsonl",),
        query_id="qid",
        text="words",
        image="photo",
        product_ids="bought",
        product_separator=";",
        timestamp="when",
    )
    catalog = load("mbe", tmp_path, tmp_path / "work", on_error="quarantine", query_columns=columns)
    assert [(query.query_id, query.kind, query.timestamp) for query in catalog.queries] == [
        ("1", QueryKind.TEXT, 100.0),
        ("2", QueryKind.PHOTO, 200.0),
    ]
    assert catalog.queries[0].product_ids == ("600000", "600001")
    assert [row.where for row in catalog.bad_rows] == ["asked.jsonl:3"]
    assert len(catalog.products) == 2


def test_a_query_that_points_nowhere_is_told(tmp_path):
    write_lines(tmp_path / "docs.jsonl", [mbe_row(0)])
    write_lines(tmp_path / "asked.jsonl", [{"words": "裙", "bought": "999"}])
    columns = QueryColumns(files=("asked.jsonl",), text="words", product_ids="bought")
    with pytest.raises(CatalogError, match="1 row") as caught:
        load("mbe", tmp_path, tmp_path / "work", query_columns=columns)
    assert "asked.jsonl:1" in str(caught.value)
    assert "999" in str(caught.value)


def test_a_query_column_that_is_not_there_names_the_nearest(tmp_path):
    rows = write_lines(tmp_path / "e.jsonl", [mbe_row(0, query_text="裙")])
    with pytest.raises(ConfigError, match="does not have") as caught:
        load("mbe", rows, tmp_path, query_columns=QueryColumns(text="querytext"))
    assert "did you mean query_text?" in str(caught.value)


@pytest.mark.parametrize("rows", [3, None])
def test_of_a_part_of_the_documents_references_are_not_checked(tmp_path, rows):
    documents = [mbe_row(number, doc_id=mbe_row(9 - number)["id"], words=f"裙 {number}") for number in range(10)]
    path = write_lines(tmp_path / "e.jsonl", documents)
    asks = QueryColumns(text="words", product_ids="doc_id")
    catalog = load("mbe", path, tmp_path, max_rows=rows, query_columns=asks)
    assert len(catalog.queries) == (rows or 10)


def test_one_answer_of_several_that_points_nowhere_stops_and_is_left_out_under_quarantine(tmp_path):
    known = mbe_row(0)["id"]
    path = write_lines(tmp_path / "e.jsonl", [mbe_row(0, words="裙", found=[known, "nowhere"])])
    asks = QueryColumns(text="words", product_ids="found")
    with pytest.raises(CatalogError, match="not in the catalogue: nowhere"):
        load("mbe", path, tmp_path, query_columns=asks)
    catalog = load("mbe", path, tmp_path, on_error="quarantine", query_columns=asks)
    assert catalog.queries[0].product_ids == (known,)
    assert any("left out" in note and "references" in note for note in catalog.notes)


# --- the attribute syntax


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("颜色:红色", {"颜色": "红色"}),
        ("颜色：红色,,材质:棉", {"颜色": "红色", "材质": "棉"}),
        ("颜色:红：深,,尺码：S:M", {"颜色": "红：深", "尺码": "S:M"}),
        ("比例:16:9,,链接:https://a.example/1", {"比例": "16:9", "链接": "https://a.example/1"}),
        ("尺码:S!!!M!!!S", {"尺码": ["S", "M"]}),
        ("尺码:!!!M!!!", {"尺码": "M"}),
        ("颜色:红,,颜色:蓝,,颜色:红", {"颜色": ["红", "蓝"]}),
        ("成分:棉,涤纶", {"成分": "棉,涤纶"}),
        ("颜色:红,,,材质:棉", {"颜色": "红", "材质": "棉"}),
        (" 颜色\u3000: \u200b红  色\t,,\\n材质:\xa0棉", {"颜色": "红 色", "材质": "棉"}),
        (",,颜色:红,,", {"颜色": "红"}),
        ("\ufeff颜色:红", {"颜色": "红"}),
        ("", {}),
        ("颜色:,,材质:  ", {}),
        (":红", {}),
        ("红色", {}),
    ],
)
def test_pairs_are_read(text, attributes):
    assert parse_pairs(text)[0] == attributes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("红色", "without a name"),
        ("：红", "empty name"),
        ("颜色:", "without a value"),
        ("a:1,,a:2", "stand twice"),
    ],
)
def test_what_cannot_be_read_is_told(text, problem, tmp_path):
    assert [problem in told for told in parse_pairs(text)[1]] == [True]
    catalog = load("mbe", write_lines(tmp_path / "e.jsonl", [mbe_row(doc_attributes=text)]), tmp_path)
    assert any(problem in note and "in 1 row(s)" in note for note in catalog.notes)


def written(attributes, syntax):
    """The cell that a publisher would write for these attributes."""
    return syntax.pair.join(f"{name}{syntax.key}{syntax.value.join(values)}" for name, values in attributes.items())


SYNTAXES = st.sampled_from([PairSyntax(), PairSyntax("|", "=", "/"), PairSyntax(";", ":", ", ")])
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).filter(
    lambda text: even_spaces(text) == text and not set(text) & set(",!:：|=/;\\")
)


@given(SYNTAXES, st.dictionaries(WORDS, st.lists(WORDS, min_size=1, max_size=4, unique=True), max_size=5))
def test_what_is_written_is_read_back(syntax, attributes):
    expected = {name: values[0] if len(values) == 1 else values for name, values in attributes.items()}
    assert parse_pairs(written(attributes, syntax), syntax) == (expected, [])


@given(st.text(max_size=60), SYNTAXES)
def test_any_text_is_read_without_an_error_and_reading_again_changes_nothing(text, syntax):
    attributes, _ = parse_pairs(text, syntax)
    for name, value in attributes.items():
        values = [value] if isinstance(value, str) else value
        assert name == even_spaces(name) != ""
        assert values == list(dict.fromkeys(even_spaces(one) for one in values))
        assert all(values)


@given(st.text(max_size=40))
def test_evening_spaces_twice_changes_nothing(text):
    once = even_spaces(text)
    assert even_spaces(once) == once
    assert once == once.strip()
