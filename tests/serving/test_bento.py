"""One real Bento: built, started, compared with the offline encoder, stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from catalog import Catalog, QueryItem
from models.config import ModelConfig, NanoConfig
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.moon import MoonModel
from models.regions import CoreRegions, RegionsConfig, make_chooser, make_detector
from models.tokenizer import train_tokenizer
from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.engine import Engine
from serving.index import build_index
from serving.launch import running_bento
from serving.packaging import package_bento
from serving.parity import check_health, check_parity
from serving.wire import EmbedRequest, QueryRequest
from tests.serving.fakes import photo_catalog

TINY = ModelConfig(
    nano=NanoConfig(
        hidden_size=32,
        num_layers=1,
        num_heads=2,
        ffn_size=64,
        vocab_size=320,
        vision_hidden_size=32,
        vision_depth=1,
        vision_num_heads=2,
        vision_ffn_size=64,
    ),
    image_side_px=32,
    embedding_dims=16,
    matryoshka_dims=(),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return photo_catalog(str(tmp_path_factory.mktemp("shop")))


@pytest.fixture(scope="module")
def model_folder(shop: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model: parity asks for equal vectors, not for good ones."""
    folder = tmp_path_factory.mktemp("model") / "model"
    tokenizer = train_tokenizer([product.title or "" for product in shop.products], TINY.nano.vocab_size)
    model = MoonModel.seeded(TINY, tokenizer.get_vocab_size(), seed=1)
    regions = RegionsConfig()
    digest = CoreRegions(make_detector(regions), make_chooser(regions)).digest
    write_model_folder(folder, model, tokenizer, regions, digest, {"commit": "abc"})
    return folder


@pytest.fixture(scope="module")
def index_folder(shop: Catalog, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "index"
    build_index(MoonEncoder.load(model_folder, device="cpu"), shop, folder)
    return folder


def queries(shop: Catalog) -> list[QueryItem]:
    photo = next(shop.items(["mug-red"])).photos[0]
    return [QueryItem("words", "red mug"), QueryItem("photo", None, photo), QueryItem("both", "a mug", photo)]


def test_the_engine_answers_as_the_real_encoder(shop: Catalog, model_folder: Path, index_folder: Path) -> None:
    from serving.parity import wire_product, wire_query

    bundle_folder = index_folder.parent
    (bundle_folder / "model").symlink_to(model_folder)
    engine = Engine.load(Bundle(bundle_folder, "1"))
    offline = MoonEncoder.load(model_folder, device="cpu")
    items = list(shop.items())
    request = EmbedRequest.model_validate({"products": [wire_product(item) for item in items]}, strict=False)
    np.testing.assert_array_equal(np.float32(engine.embed(request).vectors), offline.embed_products(items))
    for query in queries(shop):
        served = engine.embed_query(QueryRequest.model_validate(wire_query(query)))
        np.testing.assert_array_equal(np.float32(served.vector), offline.embed_queries([query])[0])
    assert engine.info()["model"]["regions"]["backend"] == "saliency"


@pytest.mark.pipeline
def test_a_real_bento_serves_what_was_packaged(
    shop: Catalog, model_folder: Path, index_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "store"))
    info = package_bento(model_folder, index_folder, ServingConfig(), version="3", labels={"run_id": "r1"})
    assert info.built
    assert not package_bento(model_folder, index_folder, ServingConfig(), version="3").built
    places = (str(tmp_path).encode(), str(model_folder.parent).encode(), str(Path.home()).encode() + b"/")
    for path in Path(info.path).rglob("*"):
        if path.is_file() and path.suffix != ".lance":
            assert not [place for place in places if place in path.read_bytes()], path
    with running_bento(info.tag) as url:
        result = check_parity(url, model_folder, shop.items(), queries(shop))
        assert (result.n, result.model_digest) == (8, info.model_digest)
        assert result.min_cosine > 1 - 1e-6
        assert result.max_abs_diff < 1e-5
        assert check_health(url).healthy
        told = httpx.get(f"{url}/info").json()
        assert (told["version"], told["labels"]["run_id"]) == ("3", "r1")
        assert httpx.post(f"{url}/search", json={"image": "@"}).status_code == 400
        # BentoML's own client, as a Python user would call it.
        code = f"import bentoml; print(len(bentoml.SyncHTTPClient({url!r}).search({{'text': 'mug', 'k': 2}})['hits']))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.strip() == "2", done.stderr
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/livez")
