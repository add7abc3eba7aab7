"""Which source fits is told by files and columns, never by a guess that goes unsaid."""

import pytest
import yaml

from catalog import CatalogConfig, CatalogError
from catalog.sources.column_map import ColumnMap
from catalog.sources.detect import detect
from tests.catalog.pictures import product, write_folder
from tests.catalog.published import (
    IMAGE,
    hit,
    mbe_row,
    shopify_row,
    write_arrow,
    write_csv,
    write_lines,
    write_parquet,
    write_shopify,
)


def test_our_own_folder_is_known(tmp_path):
    found = detect(str(write_folder(tmp_path, [product()])))
    assert (found.source, found.confidence) == ("folder", 1.0)


def test_mbe_is_known_with_what_is_missing(tmp_path):
    found = detect(str(write_lines(tmp_path / "e.jsonl", [mbe_row(extra=1)])))
    assert (found.source, found.confidence) == ("mbe", 1.0)
    assert found.mapped["title"] == "doc_title"
    assert any("query side" in what for what in found.missing)
    assert found.unmapped == ("extra",)


def test_mbe_that_lacks_columns_is_less_sure_and_names_them(tmp_path):
    row = mbe_row(doc_cate3_name=..., doc_cate4_name=...)
    found = detect(str(write_lines(tmp_path / "e.jsonl.gz", [row])))
    assert found.source == "mbe"
    assert found.confidence == 7 / 9
    assert found.missing[:2] == ("doc_cate3_name", "doc_cate4_name")


@pytest.mark.parametrize("write", [write_parquet, write_arrow])
def test_marqo_is_known(tmp_path, write):
    suffix = "parquet" if write is write_parquet else "arrow"
    path = tmp_path / f"hits.{suffix}"
    found = detect(str(write(path, [hit(1, "mug", 1)], **({"image": IMAGE} if write is write_parquet else {}))))
    assert (found.source, found.confidence) == ("marqo", 1.0)
    assert found.mapped["queries.text"] == "query"


def test_a_shopify_export_is_known_under_any_name_and_in_letter_case(tmp_path):
    path = write_shopify(tmp_path / "products.csv", [shopify_row("a", Title="A")])
    assert detect(str(path)).source == "shopify"
    path.write_text(path.read_text().replace("Handle", "URL handle").replace("Image Src", "product image url"))
    found = detect(str(tmp_path))
    assert found.source == "shopify"
    assert found.mapped["handle"] == "URL handle"
    assert found.mapped["image"] == "product image url"


def test_published_rows_in_a_file_called_products_are_not_taken_for_our_own(tmp_path):
    write_lines(tmp_path / "products.jsonl", [mbe_row()])
    assert detect(str(tmp_path)).source == "mbe"


def test_a_table_of_other_columns_needs_a_map_and_gets_a_draft(tmp_path):
    rows = [{"Item ID": 1, "Name": "x", "Image_URL": "https://a.example/1.jpg", "weird": 2}]
    found = detect(str(write_csv(tmp_path / "t.csv", rows)))
    assert (found.source, found.confidence) == ("columns", 0.0)
    assert found.mapped == {"product_id": "Item ID", "title": "Name", "images": "Image_URL"}
    assert found.unmapped == ("weird",)
    draft = ColumnMap.model_validate(yaml.safe_load(found.draft()))
    assert (draft.product_id, draft.images.columns) == ("Item ID", ("Image_URL",))


@pytest.mark.parametrize("write", [write_parquet, write_csv, write_lines])
def test_nothing_is_known_of_a_table_without_a_familiar_name(tmp_path, write):
    suffix = {write_parquet: "parquet", write_csv: "csv", write_lines: "jsonl"}[write]
    found = detect(str(write(tmp_path / f"t.{suffix}", [{"a": 1, "b": "x"}])))
    assert found.source == "columns"
    assert found.mapped == {}


def test_the_recipe_it_prints_is_one_that_the_configuration_takes(tmp_path):
    for path in (
        write_lines(tmp_path / "a" / "e.jsonl", [mbe_row()]),
        write_parquet(tmp_path / "b" / "h.parquet", [hit(1, "m", 1)], image=IMAGE),
        write_shopify(tmp_path / "c" / "s.csv", [shopify_row("a", Title="A")]),
        write_csv(tmp_path / "d" / "t.csv", [{"x": 1}]),
    ):
        found = detect(str(path))
        section = CatalogConfig.model_validate(yaml.safe_load(found.recipe(str(path)))["catalog"])
        assert section.source == found.source


def test_nothing_to_read_is_refused(tmp_path):
    with pytest.raises(CatalogError):
        detect(str(tmp_path))
    with pytest.raises(CatalogError):
        detect(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jsonl", b"", "files without rows"),
        ("a.csv", b"", "files without rows"),
        ("a.jsonl", "{}".encode("utf-16"), "not UTF-8"),
        ("a.jsonl", b"\x00\xff" * 1000, "not UTF-8"),
        ("a.jsonl", b"x" * 5_000_000, "broken JSON"),
        ("a.csv", "标题,编号\n".encode("gb18030"), "no header in UTF-8"),
    ],
)
def test_a_file_without_a_row_that_can_be_read_is_refused_with_the_reason(tmp_path, name, data, told):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CatalogError, match=told) as caught:
        detect(str(tmp_path / name))
    assert name in caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize("name", ["[Name]", "name: ", "#name", "'name'", "- name"])
def test_a_draft_of_odd_names_is_yaml_of_those_names(tmp_path, name):
    path = write_lines(tmp_path / "a.jsonl", [{"id": 1, name: "鞋", "Image?": "a.png"}])
    held = yaml.safe_load(detect(str(path)).draft())
    assert (held["title"], held["images"]) == (name, {"columns": ["Image?"]})
