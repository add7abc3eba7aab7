"""Catalogues written are read back the same; the digest sees content and nothing else."""

import errno
import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import (
    BadRow,
    Catalog,
    CatalogError,
    ImageRecord,
    Product,
    Query,
    StorageError,
    read_catalog,
    resolve_root,
    write_catalog,
)
from catalog.catalog import EMBEDDED_ROOT

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
boxes = st.tuples(st.floats(0, 9), st.floats(0, 9), st.floats(10, 20), st.floats(10, 20))


@st.composite
def products(draw, key):
    images = draw(st.lists(words, max_size=3))
    return Product(
        product_id=key,
        group_id=draw(words),
        title=draw(words),
        category=tuple(draw(st.lists(words, max_size=3))),
        attributes=draw(st.dictionaries(words, words | st.lists(words, min_size=1, max_size=2).map(tuple), max_size=3)),
        description=draw(st.none() | words),
        images=tuple(images),
        image_roles=tuple("r" for _ in images) if draw(st.booleans()) else (),
        boxes=tuple(draw(st.none() | boxes) for _ in images) if draw(st.booleans()) else (),
        price=draw(st.none() | st.floats(0, 1e9)),
        url=draw(st.none() | words),
        extra=draw(st.dictionaries(words, plain, max_size=3)),
    )


@st.composite
def catalogs(draw):
    keys = draw(st.lists(words, min_size=1, max_size=3, unique=True))
    rows = tuple(draw(products(key)) for key in keys)
    queries = tuple(
        Query(
            query_id=f"q{number}",
            kind="both",
            text=draw(words),
            image=draw(words),
            box=draw(st.none() | boxes),
            product_ids=(key,),
            timestamp=draw(st.none() | st.floats(0, 2e9)),
            weight=draw(st.floats(0, 5)),
            signal=draw(st.sampled_from(["purchase", "none"])),
            augmented=draw(st.booleans()),
            extra=draw(st.dictionaries(words, plain, max_size=2)),
        )
        for number, key in enumerate(keys)
    )
    refs = {ref for row in rows for ref in row.images}
    images = {ref: ImageRecord(ref, draw(words), draw(st.integers(0, 9)), 4, 99, draw(words)) for ref in sorted(refs)}
    bad = tuple(BadRow(draw(words), "p", draw(words)) for _ in range(draw(st.integers(0, 2))))
    return Catalog("shop", rows, queries, images, "", EMBEDDED_ROOT, bad, tuple(draw(st.lists(words, max_size=2))))


@settings(max_examples=40, deadline=None)
@given(catalogs())
def test_round_trip(tmp_path_factory, catalog):
    folder = str(tmp_path_factory.mktemp("artifact"))
    write_catalog(catalog, folder)
    again = read_catalog(folder)
    assert again == replace(catalog, root=folder)
    assert again.digest == catalog.digest


@settings(max_examples=40, deadline=None)
@given(catalogs(), st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_order(catalog, rng):
    def shuffled(values):
        values = list(values)
        rng.shuffle(values)
        return values

    other = replace(
        catalog,
        products=tuple(shuffled(catalog.products)),
        queries=tuple(shuffled(catalog.queries)),
        images=dict(shuffled(catalog.images.items())),
        name="elsewhere",
        root="/other",
    )
    assert other.digest == catalog.digest


def small():
    rows = tuple(
        Product(product_id=f"p{n}", group_id=f"g{n // 2}", title=f"t{n}", images=(f"{n}.png", "both.png"))
        for n in range(4)
    )
    queries = (
        Query(query_id="text", kind="text", text="x", product_ids=("p0", "p1")),
        Query(query_id="link", kind="link", anchor_ids=("p0",), product_ids=("p1",)),
        Query(query_id="photo", kind="photo_label", image="label.png", label="hat"),
    )
    refs = [*(f"{n}.png" for n in range(4)), "both.png", "label.png"]
    return Catalog("shop", rows, queries, {ref: ImageRecord(ref, f"d{ref}", 1, 1, 1) for ref in refs})


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, products=c.products[:-1]),
        lambda c: replace(c, queries=c.queries[1:]),
        lambda c: replace(c, images=c.images | {"0.png": replace(c.images["0.png"], digest="other")}),
        lambda c: replace(c, images=c.images | {"0.png": replace(c.images["0.png"], status="missing")}),
        lambda c: replace(c, products=(c.products[0].model_copy(update={"price": 1.0}), *c.products[1:])),
        lambda c: replace(c, products=(c.products[0], *c.products)),
    ],
)
def test_digest_sees_every_change(change):
    assert change(small()).digest != small().digest


def test_subset_takes_what_belongs_to_it():
    part = small().subset(["p1", "p2"])
    assert [one.product_id for one in part.products] == ["p1", "p2"]
    # The link query's anchor is gone, so it cannot be asked; the text query keeps the answer that is left.
    assert [(query.query_id, query.product_ids) for query in part.queries] == [("text", ("p1",)), ("photo", ())]
    assert set(part.images) == {"1.png", "2.png", "both.png", "label.png"}


def test_items_carry_boxes_roles_and_digests():
    row = Product(product_id="p", title="t", images=("a", "b"), image_roles=("main", "alt"), boxes=(None, (0, 0, 1, 1)))
    catalog = Catalog("shop", (row,), images={"a": ImageRecord("a", "da")}, root="/shop")
    first, second = catalog.item(row).photos
    assert (first.ref, first.digest, first.role, first.box, first.root) == ("a", "da", "main", None, "/shop")
    assert (second.digest, second.role, second.box) == ("", "alt", (0, 0, 1, 1))
    assert [item.product.product_id for item in small().items(["p3", "p0"])] == ["p3", "p0"]


def test_a_photograph_that_could_not_be_used_reaches_nobody():
    row = Product(product_id="p", images=("torn", "whole"), image_roles=("main", "back"))
    images = {"torn": ImageRecord("torn", "dt", status="truncated"), "whole": ImageRecord("whole", "dw")}
    (photo,) = Catalog("shop", (row,), images=images).item(row).photos
    assert (photo.ref, photo.digest, photo.role) == ("whole", "dw", "back")


def test_query_item_leaves_relevance_behind():
    query = Query(query_id="q", kind="both", text="x", image="a", product_ids=("p0",))
    item = small().query_item(query)
    assert (item.query_id, item.text, item.photo.ref) == ("q", "x", "a")
    assert not hasattr(item, "product_ids")


def test_resolve_root(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOON_DATA", raising=False)
    assert resolve_root("data/luma") == str(tmp_path / "data/luma")
    monkeypatch.setenv("MOON_DATA", "/elsewhere")
    assert resolve_root("data/luma") == "/elsewhere/luma"
    assert resolve_root("data") == "/elsewhere"
    assert resolve_root("database/x") == str(tmp_path / "database/x")
    assert resolve_root("s3://data/x") == "s3://data/x"
    assert resolve_root("/abs") == "/abs"


def test_unfinished_old_and_tampered_artifacts_are_refused(tmp_path):
    with pytest.raises(CatalogError, match="not a catalogue artifact"):
        read_catalog(str(tmp_path))
    write_catalog(small(), str(tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 0}))
    with pytest.raises(CatalogError, match="another schema version"):
        read_catalog(str(tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    table = pq.read_table(tmp_path / "products.parquet")
    pq.write_table(table.slice(1), tmp_path / "products.parquet")
    with pytest.raises(CatalogError, match="does not match its digest"):
        read_catalog(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b'{"schema_version": 1, "na'),
        ("manifest.json", b"[]"),
        ("manifest.json", b'{"schema_version": 1}'),
        ("products.parquet", b"PAR1"),
        ("images.parquet", b""),
    ],
)
def test_a_damaged_artifact_is_told_and_not_a_traceback(tmp_path, name, content):
    write_catalog(small(), str(tmp_path))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogError, match="damaged") as raised:
        read_catalog(str(tmp_path))
    assert raised.value.fix


def test_a_write_cut_off_over_an_older_artifact_is_no_artifact(tmp_path, monkeypatch):
    write_catalog(small(), str(tmp_path))

    def full(table, stream):
        raise OSError(errno.ENOSPC, "No space left on device", "products.parquet")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StorageError, match="No space left") as raised:
        write_catalog(replace(small(), products=()), str(tmp_path))
    assert raised.value.where == "products.parquet"
    with pytest.raises(CatalogError, match="cut off"):
        read_catalog(str(tmp_path))


def test_memory_file_system():
    write_catalog(small(), "memory://artifact")
    assert read_catalog("memory://artifact").digest == small().digest


def test_artifact_holds_no_absolute_path(tmp_path):
    write_catalog(replace(small(), root=str(tmp_path), image_root="data/shop"), str(tmp_path))
    content = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert str(tmp_path).encode() not in content
