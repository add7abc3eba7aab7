"""The cache of vectors: what shares one, what never does, kills, damage, limits, two writers."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import ConfigError, ModelError, StorageError
from catalog.embedder import Embedder
from catalog.images import Photo
from catalog.items import ProductItem, QueryItem, hide_fields
from catalog.rows import Product
from validation.search.cache import CachedVectors, label_digest, product_digest, query_digest

DIMS = 8


class Counting:
    """Vectors of what is seen, and a list of all that was asked."""

    name, dims, modalities = "counting", DIMS, frozenset({"text", "image"})

    def __init__(self, digest: str = "first") -> None:
        self.digest = digest
        self.asked: list[str] = []
        self.fail_at = 10**9

    def _vectors(self, seen: list[str], ids: list[str]) -> np.ndarray:
        rows = []
        for text, name in zip(seen, ids, strict=True):
            if len(self.asked) == self.fail_at:
                raise KeyboardInterrupt
            self.asked.append(name)
            rng = np.random.default_rng(list((self.digest + text).encode()))
            row = rng.standard_normal(DIMS)
            rows.append(row / np.linalg.norm(row))
        return np.asarray(rows, dtype=np.float32).reshape(-1, DIMS)

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        given_items = [hide_fields(item, hide) for item in items]
        seen = [f"{item.product.title}{item.product.category}{item.product.attributes}" for item in given_items]
        return self._vectors(seen, [item.product.product_id for item in given_items])

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        asked = list(items)
        return self._vectors([f"q{item.text}" for item in asked], [item.query_id for item in asked])

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        asked = list(texts)
        return self._vectors([f"l{text}" for text in asked], asked)


def item(name: str, title: str = "Red dress", **fields: object) -> ProductItem:
    photos = fields.pop("photos", ())
    return ProductItem(Product(product_id=name, group_id=name, title=title, **fields), photos)  # type: ignore[arg-type]


def photo(digest: str, **fields: object) -> Photo:
    return Photo(ref=f"{digest or 'none'}.jpg", digest=digest, **fields)  # type: ignore[arg-type]


@pytest.fixture
def encoder() -> Counting:
    return Counting()


def test_keeps_the_protocol_and_the_encoders_own_vectors(encoder: Counting, tmp_path: Path) -> None:
    cached = CachedVectors(encoder, tmp_path)
    assert isinstance(cached, Embedder)
    items = [item(f"p{number}", f"Title {number}") for number in range(7)]
    queries = [QueryItem(f"q{number}", text=f"words {number}") for number in range(5)]
    for _ in range(2):
        assert (cached.embed_products(items) == Counting().embed_products(items)).all()
        assert (cached.embed_queries(queries) == Counting().embed_queries(queries)).all()
        assert (cached.embed_labels(["a", "b"]) == Counting().embed_labels(["a", "b"])).all()
    assert len(encoder.asked) == cached.misses == 14
    assert cached.hits == 14


def test_another_process_asks_nothing_again(encoder: Counting, tmp_path: Path) -> None:
    items = (item(f"p{number}", f"Title {number}") for number in range(30))
    first = CachedVectors(encoder, tmp_path, batch_items=4).embed_products(items)
    later = Counting()
    again = CachedVectors(later, tmp_path).embed_products(item(f"p{n}", f"Title {n}") for n in reversed(range(30)))
    assert (again == first[::-1]).all()
    assert later.asked == []


def test_only_what_is_new_is_asked_and_equal_content_once(encoder: Counting, tmp_path: Path) -> None:
    cached = CachedVectors(encoder, tmp_path)
    cached.embed_products([item("a", "one"), item("b", "two")])
    found = cached.embed_products([item("c", "two"), item("d", "three"), item("e", "three"), item("f", "one")])
    assert encoder.asked == ["a", "b", "d"]
    assert (found[1] == found[2]).all()
    assert (cached.hits, cached.misses) == (3, 3)


def test_products_that_differ_in_what_is_hidden_share_a_vector(encoder: Counting, tmp_path: Path) -> None:
    cached = CachedVectors(encoder, tmp_path)
    red, blue = item("r", attributes={"colour": "red"}), item("b", attributes={"colour": "blue"})
    found = cached.embed_products([red, blue], frozenset({"attributes.colour"}))
    assert (found[0] == found[1]).all()
    assert encoder.asked == ["r"]
    shown = cached.embed_products([red, blue])
    assert not (shown[0] == shown[1]).all()
    assert encoder.asked == ["r", "r", "b"]


def test_a_query_a_label_and_a_product_of_one_text_are_three_things(encoder: Counting, tmp_path: Path) -> None:
    cached = CachedVectors(encoder, tmp_path)
    found = [cached.embed_labels(["x"]), cached.embed_queries([QueryItem("x", text="x")])]
    found.append(cached.embed_products([item("x", "x")]))
    assert len({vectors.tobytes() for vectors in found}) == 3
    assert cached.misses == 3


def test_another_encoder_shares_nothing(encoder: Counting, tmp_path: Path) -> None:
    other = Counting("second")
    first = CachedVectors(encoder, tmp_path).embed_labels(["x"])
    second = CachedVectors(other, tmp_path).embed_labels(["x"])
    assert other.asked == ["x"]
    assert not (first == second).all()


BASE = item(
    "p", category=("Men", "Tops"), attributes={"colour": "red", "size": ("S", "M")}, description="Soft.", price=3.0,
    images=("a.jpg", "b.jpg"), image_roles=("main", "back"), boxes=((0, 0, 1, 1), None), extra={"season": "summer"},
    photos=(photo("a", role="main", box=(0, 0, 1, 1)), photo("b", role="back")),
)  # fmt: skip


def changed(**fields: object) -> ProductItem:
    return ProductItem(BASE.product.model_copy(update=fields), BASE.photos)


@pytest.mark.parametrize(
    "other",
    [
        changed(title="Red dress "),
        changed(title=None),
        changed(category=("Men > Tops",)),
        changed(attributes={"size": ("S", "M"), "colour": "red"}),
        changed(attributes={"colour": "red", "size": ("M", "S")}),
        changed(description=None),
        changed(price=4.0),
        changed(url="https://shop.example/p"),
        changed(image_roles=("back", "main")),
        changed(boxes=((0, 0, 1, 2), None)),
        changed(extra={"season": "winter"}),
        replace(BASE, photos=BASE.photos[::-1]),
        replace(BASE, photos=BASE.photos[:1]),
        replace(BASE, photos=(replace(BASE.photos[0], role="alt"), BASE.photos[1])),
        replace(BASE, photos=(replace(BASE.photos[0], box=None), BASE.photos[1])),
        replace(BASE, photos=(replace(BASE.photos[0], digest="c"), BASE.photos[1])),
    ],
)
def test_whatever_an_encoder_may_see_changes_the_digest(other: ProductItem) -> None:
    assert product_digest(other) != product_digest(BASE)


def test_ids_and_places_do_not_change_the_digest_unless_asked() -> None:
    moved = replace(BASE.photos[0], ref="elsewhere/a.jpg", root="/elsewhere")
    other = ProductItem(BASE.product.model_copy(update={"product_id": "x", "group_id": "y"}), (moved, BASE.photos[1]))
    assert product_digest(other) == product_digest(BASE)
    assert product_digest(other, by_id=True) != product_digest(BASE, by_id=True)
    assert query_digest(QueryItem("a", text="t")) == query_digest(QueryItem("b", text="t"))
    assert query_digest(QueryItem("a", text="t"), by_id=True) != query_digest(QueryItem("b", text="t"), by_id=True)


texts = st.none() | st.text(max_size=6)


@given(texts, texts, texts, texts)
def test_two_queries_share_a_digest_exactly_if_they_show_the_same(a: str, b: str, c: str, d: str) -> None:
    def query(text: str | None, digest: str | None) -> QueryItem:
        return QueryItem("q", text=text, photo=photo(digest) if digest else None)

    left, right = query(a, b), query(c, d)
    assert (query_digest(left) == query_digest(right)) == ((a, b or None) == (c, d or None))


def test_long_arrays_of_unknown_columns_are_seen_whole() -> None:
    long = np.zeros(5000)
    other = long.copy()
    other[2500] = 1.0
    assert product_digest(changed(extra={"v": long})) != product_digest(changed(extra={"v": other}))
    assert label_digest("a") != label_digest("b")


def test_photos_without_a_digest_are_computed_each_time(encoder: Counting, tmp_path: Path) -> None:
    cached = CachedVectors(encoder, tmp_path)
    bare = item("p", photos=(photo(""),))
    for _ in range(2):
        cached.embed_products([bare, bare])
        cached.embed_queries([QueryItem("q", photo=photo(""))])
    assert encoder.asked == ["p", "p", "q"] * 2
    assert list(tmp_path.rglob("*.npy")) == []


def test_random_vectors_need_their_ids(tmp_path: Path) -> None:
    from validation.rivals import RandomVectors

    cached = CachedVectors(RandomVectors(DIMS), tmp_path, by_id=True)
    items = [item("a"), item("b")]
    for _ in range(2):
        assert (cached.embed_products(items) == RandomVectors(DIMS).embed_products(items)).all()


def test_a_killed_run_goes_on_where_it_stopped(encoder: Counting, tmp_path: Path) -> None:
    items = [item(f"p{number}", f"Title {number}") for number in range(20)]
    encoder.fail_at = 13
    with pytest.raises(KeyboardInterrupt):
        CachedVectors(encoder, tmp_path, batch_items=5).embed_products(items)
    later = Counting()
    found = CachedVectors(later, tmp_path, batch_items=5).embed_products(items)
    assert later.asked == [f"p{number}" for number in range(10, 20)]
    assert (found == Counting().embed_products(items)).all()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 0x40
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty])
@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_a_damaged_shard_is_never_trusted(
    damage: Callable[[Path], None], suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [item(f"p{number}", f"Title {number}") for number in range(6)]
    CachedVectors(Counting(), tmp_path, batch_items=3).embed_products(items)
    damage(sorted(tmp_path.rglob(f"*{suffix}"))[0])
    later = Counting()
    with caplog.at_level(logging.WARNING):
        found = CachedVectors(later, tmp_path).embed_products(items)
    assert (found == Counting().embed_products(items)).all()
    assert len(later.asked) == 3
    assert "damaged and will be computed again" in caplog.text
    last = Counting()
    CachedVectors(last, tmp_path).embed_products(items)
    assert last.asked == []


@pytest.mark.parametrize(
    "wrong",
    [np.full((1, DIMS), np.nan), np.zeros((1, DIMS)), np.eye(1, DIMS + 1), np.eye(2, DIMS), 3 * np.eye(1, DIMS)],
)
def test_a_shard_that_holds_no_unit_vectors_is_not_used_whoever_wrote_it(wrong: np.ndarray, tmp_path: Path) -> None:
    cached = CachedVectors(Counting(), tmp_path)
    cached._shards.append([label_digest("x")], wrong)
    assert (cached.embed_labels(["x"]) == Counting().embed_labels(["x"])).all()
    assert cached.misses == 1


def test_vectors_vanishing_between_index_and_file_are_computed_again(tmp_path: Path) -> None:
    CachedVectors(Counting(), tmp_path).embed_labels(["x", "y"])
    for path in tmp_path.rglob("*.npy"):
        path.unlink()
    later = CachedVectors(Counting(), tmp_path)
    assert (later.embed_labels(["x", "y"]) == Counting().embed_labels(["x", "y"])).all()
    assert later.misses == 2


def test_what_a_kill_left_half_written_is_never_read(tmp_path: Path) -> None:
    cached = CachedVectors(Counting(), tmp_path)
    cached.embed_labels(["x"])
    for path in list(tmp_path.rglob("*.parquet")):
        os.replace(path, path.with_name(path.name + ".partial"))
    later = CachedVectors(Counting(), tmp_path)
    later.embed_labels(["x"])
    assert later.misses == 1


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    items = [item(f"p{number}", f"Title {number}") for number in range(40)]

    def write(shift: int) -> np.ndarray:
        turned = items[shift:] + items[:shift]
        return CachedVectors(Counting(), tmp_path, batch_items=3).embed_products(turned)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(write, (0, 10, 20, 30)))
    expected = Counting().embed_products(items)
    for shift, vectors in zip((0, 10, 20, 30), found, strict=True):
        assert (vectors == np.roll(expected, -shift, axis=0)).all()
    last = CachedVectors(Counting(), tmp_path)
    assert (last.embed_products(items) == expected).all()
    assert last.misses == 0
    assert list(tmp_path.rglob("*.partial")) == []


def test_one_reader_sees_what_another_wrote_meanwhile(tmp_path: Path) -> None:
    first, second = CachedVectors(Counting(), tmp_path), CachedVectors(Counting(), tmp_path)
    first.embed_labels(["x"])
    second.embed_labels(["x", "y"])
    first.embed_labels(["y"])
    assert (first.misses, second.misses) == (1, 1)


def test_the_oldest_make_room_and_the_rest_stays(tmp_path: Path) -> None:
    room = 8000 / 2**30
    cached = CachedVectors(Counting(), tmp_path, max_gib=room)
    for number in range(12):
        cached.embed_labels([f"label {number}"])
        stamp = 1_000_000 + number
        for path in tmp_path.rglob("*.*"):
            if path.stat().st_mtime > 10_000_000:
                os.utime(path, (stamp, stamp))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.*")) <= 8000
    assert 2 <= len(list(tmp_path.rglob("*.npy"))) < 12
    later = CachedVectors(Counting(), tmp_path, max_gib=room)
    later.embed_labels(["label 11"])
    assert later.misses == 0
    assert (later.embed_labels(["label 0"]) == Counting().embed_labels(["label 0"])).all()
    assert later.misses == 1


def test_a_batch_larger_than_the_limit_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="allow the cache more"):
        CachedVectors(Counting(), tmp_path, max_gib=1e-7).embed_labels(["x"])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="name another folder"):
        CachedVectors(Counting(), tmp_path / "file").embed_labels(["x"])


class Broken(Counting):
    """Returns one vector too few."""

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        return super().embed_labels(texts)[1:]


def test_an_encoder_that_breaks_the_protocol_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="wrong shape"):
        CachedVectors(Broken(), tmp_path).embed_labels(["x", "y"])
    assert list(tmp_path.rglob("*.npy")) == []


def test_an_encoder_without_digest_and_empty_bounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without a digest"):
        CachedVectors(Counting(""), tmp_path)
    with pytest.raises(ConfigError, match="batch_items from 1"):
        CachedVectors(Counting(), tmp_path, batch_items=0)


def test_nothing_asked_is_an_empty_table(tmp_path: Path) -> None:
    assert CachedVectors(Counting(), tmp_path).embed_products([]).shape == (0, DIMS)
