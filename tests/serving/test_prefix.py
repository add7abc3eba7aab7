"""Vectors served at a shorter trained length: index, service, parity and Bento agree on it, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalog import Catalog, ModelError, QueryItem
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.moon import MoonModel
from models.regions import CoreRegions, RegionsConfig, make_chooser, make_detector
from models.tokenizer import train_tokenizer
from serving import packaging, parity
from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.engine import Engine
from serving.errors import ServingError
from serving.index import ProductIndex, build_index
from serving.packaging import package_bento
from serving.wire import EmbedRequest, QueryRequest, SearchRequest
from tests.serving.fakes import photo_catalog
from tests.serving.test_bento import TINY

WHOLE, SHORT = 16, 8


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return photo_catalog(str(tmp_path_factory.mktemp("shop")))


@pytest.fixture(scope="module")
def place(shop: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each length, as a bundle lays it out: the same model, and an index of vectors of that length."""
    root = tmp_path_factory.mktemp("bundles")
    config = TINY.model_copy(update={"embedding_dims": WHOLE, "matryoshka_dims": (SHORT,)})
    tokenizer = train_tokenizer([product.title or "" for product in shop.products], config.nano.vocab_size)
    model = MoonModel.seeded(config, tokenizer.get_vocab_size(), seed=1)
    regions = RegionsConfig()
    digest = CoreRegions(make_detector(regions), make_chooser(regions)).digest
    write_model_folder(root / "model", model, tokenizer, regions, digest, {"commit": "abc"})
    for dims in (WHOLE, SHORT):
        (root / str(dims)).mkdir()
        (root / str(dims) / "model").symlink_to(root / "model")
        build_index(_encoder(root, dims), shop, root / str(dims) / "index")
    return root


def _encoder(place: Path, dims: int) -> MoonEncoder:
    return MoonEncoder.load(place / "model", device="cpu", dims=dims)


def _engine(place: Path, index: int, dims: int | None) -> Engine:
    return Engine.load(Bundle(place / str(index), "1", ServingConfig(dims=dims, device="cpu")))


def test_a_service_answers_at_the_configured_length(shop: Catalog, place: Path) -> None:
    engine, whole = _engine(place, SHORT, SHORT), _encoder(place, WHOLE)
    items = list(shop.items())
    request = EmbedRequest.model_validate({"products": [parity.wire_product(item) for item in items]}, strict=False)
    served = engine.embed(request)
    full_ND = whole.embed_products(items)[:, :SHORT]
    cut_ND = full_ND / np.linalg.norm(full_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(np.float32(served.vectors), cut_ND, atol=1e-6)
    asked = engine.embed_query(QueryRequest.model_validate({"text": "red mug"}))
    assert served.dims == asked.dims == len(asked.vector) == engine.info()["model"]["dims"] == SHORT
    assert served.model_digest == engine.health().model_digest == engine.index.info.model_digest != whole.digest
    # Brute force over the cut vectors.
    query_D = whole.embed_queries([QueryItem("words", "red mug")])[0, :SHORT]
    scores_N = cut_ND @ (query_D / np.linalg.norm(query_D))
    hits = engine.search(SearchRequest.model_validate({"text": "red mug", "k": 3})).hits
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores_N)[::-1][:3], atol=1e-5)


@pytest.mark.parametrize(("index", "dims"), [(SHORT, None), (SHORT, WHOLE), (WHOLE, SHORT)])
def test_an_index_of_another_length_is_refused(place: Path, index: int, dims: int | None) -> None:
    with pytest.raises(ServingError, match="vectors of another length") as caught:
        _engine(place, index, dims)
    assert (caught.value.got, caught.value.allowed) == (str(index), str(dims or WHOLE))
    # The digest alone tells them apart too.
    with pytest.raises(ServingError, match="another model"):
        ProductIndex.open(place / str(index) / "index", model_digest=_encoder(place, dims or WHOLE).digest)


def test_parity_is_asked_of_the_length_that_is_served(
    shop: Catalog, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _engine(place, SHORT, SHORT)
    embed = {"/embed": (EmbedRequest, engine.embed), "/embed_query": (QueryRequest, engine.embed_query)}

    def post(client: object, path: str, body: dict[str, object]) -> dict[str, object]:
        kind, answer = embed[path]
        return answer(kind.model_validate(body, strict=False)).model_dump()  # type: ignore[operator]

    monkeypatch.setattr(parity, "_get", lambda client, path: engine.info())
    monkeypatch.setattr(parity, "_post", post)
    queries = [QueryItem("words", "red mug")]
    result = parity.check_parity("http://unused", place / "model", list(shop.items()), queries)
    assert (result.n, result.model_digest) == (6, engine.encoder.digest)
    assert result.min_cosine > 1 - 1e-6
    with pytest.raises(ServingError, match="another model"):
        parity.check_parity("http://unused", place / "model", [], queries, encoder=_encoder(place, WHOLE))


def test_a_bento_is_packaged_with_an_index_of_its_length(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "store"))

    def build(context: Path, version: str) -> None:
        assert Bundle.read(context / "bundle").config.dims == SHORT
        target = packaging.bento_path(f"moon:{version}")
        target.mkdir(parents=True)
        (target / "bento.yaml").write_text("")

    monkeypatch.setattr(packaging, "_build", build)
    short, whole = place / str(SHORT) / "index", place / str(WHOLE) / "index"
    info = package_bento(place / "model", short, ServingConfig(dims=SHORT), version="1")
    assert info.built
    # Of the model folder: what the registry knows.
    assert info.model_digest == _encoder(place, WHOLE).digest
    for index, dims in ((short, None), (short, WHOLE), (whole, SHORT)):
        with pytest.raises(ServingError, match="another length of vectors"):
            package_bento(place / "model", index, ServingConfig(dims=dims), version="1")
    with pytest.raises(ModelError, match="not trained for vectors of this length") as caught:
        package_bento(place / "model", short, ServingConfig(dims=9), version="1")
    assert (caught.value.where, caught.value.allowed) == ("serving.dims", "8, 16")
