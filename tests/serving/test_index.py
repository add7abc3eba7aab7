"""The index against brute force, its manifest, and what is left when building it is cut off."""

from __future__ import annotations

import io
import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog import Catalog, ImageError, ModelError, StorageError
from serving.errors import ServingError
from serving.index import ROWS_PER_WRITE, ProductIndex, build_index, read_index_info
from tests.serving.fakes import DIMS, FakeEncoder, TableEncoder, photo_catalog, plain_catalog, unit_rows


def brute_force(vectors_ND: np.ndarray, query_D: np.ndarray, k: int) -> list[int]:
    scores = np.round(vectors_ND.astype(np.float64) @ query_D.astype(np.float64), 7)
    return sorted(range(len(vectors_ND)), key=lambda n: (-scores[n], n))[:k]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, ProductIndex]:
    vectors_ND = unit_rows(300)
    # Forty equal vectors: more ties than any list that Lance is first asked for.
    vectors_ND[100:140] = vectors_ND[100]
    folder = tmp_path_factory.mktemp("many") / "index"
    build_index(TableEncoder(vectors_ND), plain_catalog(300), folder, batch_size=37)
    return vectors_ND, ProductIndex.open(folder)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), k=st.integers(1, 320))
def test_search_equals_brute_force(many: tuple[np.ndarray, ProductIndex], seed: int, k: int) -> None:
    vectors_ND, index = many
    query_D = unit_rows(1, seed=seed)[0]
    assert [hit.position for hit in index.search(query_D, k)] == brute_force(vectors_ND, query_D, k)


@pytest.mark.parametrize("k", [1, 5, 30, 40, 60])
def test_ties_come_in_the_catalogues_order(many: tuple[np.ndarray, ProductIndex], k: int) -> None:
    vectors_ND, index = many
    hits = index.search(vectors_ND[100], k)
    assert [hit.position for hit in hits[:40]] == list(range(100, 140))[:k]
    assert len({hit.score for hit in hits[:40]}) == 1


def test_scores_are_cosines(many: tuple[np.ndarray, ProductIndex]) -> None:
    vectors_ND, index = many
    for hit in index.search(vectors_ND[3], 5):
        assert hit.score == pytest.approx(float(vectors_ND[hit.position] @ vectors_ND[3]), abs=1e-6)


def test_k_above_the_catalogue_gives_all_of_it(many: tuple[np.ndarray, ProductIndex]) -> None:
    assert len(many[1].search(unit_rows(1)[0], 10_000)) == 300


def test_more_rows_than_one_write_holds(tmp_path: Path) -> None:
    num = ROWS_PER_WRITE + 500
    vectors_ND = unit_rows(num, dims=4)
    build_index(TableEncoder(vectors_ND), plain_catalog(num), tmp_path / "index", batch_size=1000)
    index = ProductIndex.open(tmp_path / "index")
    query_D = unit_rows(1, dims=4, seed=5)[0]
    assert [hit.position for hit in index.search(query_D, 20)] == brute_force(vectors_ND, query_D, 20)


def test_approximate_index_from_the_configured_size_on(tmp_path: Path) -> None:
    vectors_ND = unit_rows(600)
    info = build_index(TableEncoder(vectors_ND), plain_catalog(600), tmp_path / "index", ann_min_rows=600)
    index = ProductIndex.open(tmp_path / "index")
    assert not info.exact
    hits = index.search(vectors_ND[42], 10)
    assert hits[0].position == 42
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_hits_carry_the_row(tmp_path: Path) -> None:
    catalog = photo_catalog(str(tmp_path))
    encoder = FakeEncoder()
    seen: list[tuple[int, int]] = []
    info = build_index(
        encoder, catalog, tmp_path / "index", lambda done, total: seen.append((done, total)), batch_size=2
    )
    index = ProductIndex.open(tmp_path / "index", model_digest=encoder.digest)
    item = next(catalog.items(["mug-red"]))
    hit = index.search(encoder.embed_products([item])[0], 1)[0]
    assert (hit.product_id, hit.title, hit.category, hit.price) == ("mug-red", "red mug", ("kitchen", "mugs"), 9.5)
    assert (hit.group_id, hit.image) == ("mug", "images/red.png")
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert (info.num_products, info.dims, info.catalog_digest) == (5, DIMS, catalog.digest)


def test_thumbnails(tmp_path: Path) -> None:
    build_index(FakeEncoder(), photo_catalog(str(tmp_path)), tmp_path / "index", thumbnail_px=20)
    index = ProductIndex.open(tmp_path / "index")
    data = index.thumbnail("mug/grey's")
    assert data is not None
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (20, 15))
    assert np.abs(np.asarray(image).astype(int) - 128).max() <= 2
    assert index.thumbnail("card") is None
    assert index.thumbnail("x' OR '1'='1") is None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("gone"), MemoryError()])
def test_a_build_cut_off_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    encoder = TableEncoder(unit_rows(50), fail_at=25, error=error)
    with pytest.raises(type(error)):
        build_index(encoder, plain_catalog(50), tmp_path / "index", batch_size=10)
    assert list(tmp_path.iterdir()) == []


def test_a_build_cut_off_leaves_the_old_index_whole(tmp_path: Path) -> None:
    vectors_ND = unit_rows(50)
    before = build_index(TableEncoder(vectors_ND), plain_catalog(50), tmp_path / "index")
    with pytest.raises(ModelError):
        build_index(TableEncoder(vectors_ND, 25, ModelError("gone")), plain_catalog(50), tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    index = ProductIndex.open(tmp_path / "index")
    assert index.info == before
    assert index.search(vectors_ND[7], 1)[0].product_id == "p7"


def test_a_disk_that_takes_no_more_is_told(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file above 20 kB: Lance then fails in the middle of its write, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StorageError, match="File too large") as raised:
            build_index(TableEncoder(unit_rows(3000)), plain_catalog(3000), tmp_path / "index")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_killed_builds_remains_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".index.partial" / "products.lance").mkdir(parents=True)
    build_index(TableEncoder(unit_rows(5)), plain_catalog(5), tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_an_index_replaces_an_older_one(tmp_path: Path) -> None:
    build_index(TableEncoder(unit_rows(5)), plain_catalog(5), tmp_path / "index")
    build_index(TableEncoder(unit_rows(9)), plain_catalog(9), tmp_path / "index")
    assert ProductIndex.open(tmp_path / "index").info.num_products == 9
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_digest_follows_model_and_catalogue_alone(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    first = build_index(encoder, plain_catalog(5), tmp_path / "a", batch_size=2)
    assert build_index(encoder, plain_catalog(5), tmp_path / "b", batch_size=5).digest == first.digest
    assert build_index(encoder, plain_catalog(6), tmp_path / "c").digest != first.digest
    encoder.digest = "e" * 64
    assert build_index(encoder, plain_catalog(5), tmp_path / "d").digest != first.digest


def test_refused_for_another_model(tmp_path: Path) -> None:
    build_index(FakeEncoder(), plain_catalog(3), tmp_path / "index")
    with pytest.raises(ServingError, match="another model"):
        ProductIndex.open(tmp_path / "index", model_digest="0" * 64)


def test_refused_without_a_manifest_or_of_another_version(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="cut off"):
        ProductIndex.open(tmp_path / "nothing")
    build_index(FakeEncoder(), plain_catalog(3), tmp_path / "index")
    manifest = tmp_path / "index" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 0}))
    with pytest.raises(ServingError, match="schema version"):
        read_index_info(tmp_path / "index")


def test_refused_when_rows_are_missing(tmp_path: Path) -> None:
    build_index(FakeEncoder(), plain_catalog(3), tmp_path / "index")
    manifest = tmp_path / "index" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"num_products": 4}))
    with pytest.raises(ServingError, match="lost rows"):
        ProductIndex.open(tmp_path / "index")


def test_empty_catalogue_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no products"):
        build_index(FakeEncoder(), Catalog(name="empty", products=()), tmp_path / "index")


def test_a_photograph_that_ingestion_could_not_use_is_passed_over(tmp_path: Path) -> None:
    mugs = photo_catalog(str(tmp_path / "shop"))
    torn = replace(mugs.images["images/red.png"], status="image is truncated or damaged")
    (tmp_path / "shop" / "images" / "red.png").write_bytes(b"torn")
    build_index(FakeEncoder(), replace(mugs, images=mugs.images | {torn.ref: torn}), tmp_path / "index")
    index = ProductIndex.open(tmp_path / "index")
    red = next(
        hit for hit in index.search(FakeEncoder().embed_labels(["red mug"])[0], 9) if hit.product_id == "mug-red"
    )
    assert red.image is None
    assert index.thumbnail("mug-red") is None


def test_a_changed_photograph_is_named(tmp_path: Path) -> None:
    catalog = photo_catalog(str(tmp_path))
    (tmp_path / "images" / "blue.png").write_bytes(b"something else")
    with pytest.raises(ImageError, match=r"images/blue\.png"):
        build_index(FakeEncoder(), catalog, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_an_encoder_that_breaks_the_protocol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unit length"):
        build_index(TableEncoder(unit_rows(5) * 2), plain_catalog(5), tmp_path / "index")


@pytest.mark.parametrize(
    "vector", [np.zeros(3), np.full(DIMS, np.nan), np.zeros((1, DIMS))], ids=["width", "nan", "rank"]
)
def test_a_vector_that_does_not_fit_is_refused(many: tuple[np.ndarray, ProductIndex], vector: np.ndarray) -> None:
    with pytest.raises(ServingError, match="does not fit"):
        many[1].search(vector, 1)
