"""Class labels as Hugging Face keeps them: whole numbers, with their names in the schema's metadata."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from catalog.sources.class_labels import label_names, named
from tests.catalog.published import load

LEAVES = {"_type": "ClassLabel", "names": ["连衣裙", "皮鞋"]}
FEATURES = {
    "sku": {"_type": "Value", "dtype": "string"},
    "leaf": LEAVES,
    "tags": {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["新款", "打折", "红色"]}},
}
ROWS = [
    {"sku": "1", "title": "红色连衣裙", "leaf": 0, "tags": [0, 2]},
    {"sku": "2", "title": "黑色皮鞋", "leaf": 1, "tags": []},
    {"sku": "3", "title": "无类别", "leaf": -1, "tags": None},
]
MAP = {
    "product_id": "sku",
    "title": "title",
    "category": {"columns": ["leaf"]},
    "attributes": {"columns": ["tags"]},
}


def table(features=FEATURES):
    made = pa.Table.from_pylist(ROWS)
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_categories_and_attributes_are_names_and_not_numbers(tmp_path, kind):
    path = tmp_path / "data" / f"rows.{kind}"
    path.parent.mkdir()
    if kind == "parquet":
        pq.write_table(table(), path)
    else:
        with pa.ipc.new_stream(str(path), table().schema) as writer:
            writer.write_table(table(), max_chunksize=2)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAP), encoding="utf-8")
    catalog = load("columns", path.parent, tmp_path / "work", columns=str(tmp_path / "map.yaml"))
    assert [product.category for product in catalog.products] == [("连衣裙",), ("皮鞋",), ()]
    assert [product.attributes for product in catalog.products] == [{"tags": ("新款", "红色")}, {}, {}]


@pytest.mark.parametrize(
    ("feature", "names"),
    [
        (LEAVES, LEAVES["names"]),
        ([LEAVES], LEAVES["names"]),
        ({"_type": "List", "feature": LEAVES}, LEAVES["names"]),
        ({"_type": "Value", "dtype": "int64"}, None),
        ({"_type": "ClassLabel"}, None),
        (None, None),
        ([], None),
    ],
)
def test_names_are_found_in_every_form_that_features_have(feature, names):
    assert label_names(table({"leaf": feature}).schema).get("leaf") == names


@pytest.mark.parametrize(
    "metadata", [None, {"huggingface": "{"}, {"huggingface": "[]"}, {"huggingface": '{"info": 1}'}]
)
def test_metadata_of_another_kind_names_nothing(metadata):
    assert label_names(pa.schema([("leaf", pa.int64())], metadata=metadata)) == {}


def test_a_number_beyond_the_names_has_none():
    assert [named(cell, ["a", "b"]) for cell in (0, 1, 2, -1, None, [1, -1])] == [
        "a",
        "b",
        None,
        None,
        None,
        ["b", None],
    ]
