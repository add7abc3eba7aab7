"""Served with fewer crops than were trained: index, service, parity and Bento agree on it, or are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from catalog import Catalog, ModelError
from models import encoder as encoders
from models.encoder import MoonEncoder
from serving import packaging, parity
from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.engine import Engine
from serving.errors import ServingError
from serving.index import build_index
from serving.packaging import package_bento
from serving.wire import EmbedRequest, QueryRequest
from tests.serving.test_bento import model_folder, queries, shop

__all__ = ["model_folder", "shop"]  # fixtures
SERVED = ("products", "queries", "none")


@pytest.fixture(scope="module")
def place(shop: Catalog, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each setting, as a bundle lays it out."""
    root = tmp_path_factory.mktemp("bundles")
    for crops in ("both", *SERVED):
        (root / crops).mkdir()
        (root / crops / "model").symlink_to(model_folder)
        build_index(_encoder(model_folder, crops), shop, root / crops / "index")
    return root


def _encoder(folder: Path, crops: str | None) -> MoonEncoder:
    return MoonEncoder.load(folder, device="cpu", crops=crops)  # type: ignore[arg-type]


def _engine(place: Path, index: str, crops: str | None) -> Engine:
    return Engine.load(Bundle(place / index, "1", ServingConfig(crops=crops, device="cpu")))  # type: ignore[arg-type]


@pytest.mark.parametrize("crops", SERVED)
def test_the_service_answers_as_the_offline_encoder_with_these_crops(
    shop: Catalog, model_folder: Path, place: Path, crops: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, offline = _engine(place, crops, crops), _encoder(model_folder, crops)
    items = list(shop.items())
    request = EmbedRequest.model_validate({"products": [parity.wire_product(item) for item in items]}, strict=False)
    np.testing.assert_array_equal(np.float32(engine.embed(request).vectors), offline.embed_products(items))
    for query in queries(shop):
        served = engine.embed_query(QueryRequest.model_validate(parity.wire_query(query)))
        np.testing.assert_array_equal(np.float32(served.vector), offline.embed_queries([query])[0])
    told = engine.info()["model"]
    assert told["crops"] == crops
    assert told["regions"]["backend"] == (None if crops == "none" else "saliency")
    assert told["digest"] == offline.digest != _encoder(model_folder, None).digest
    # Parity loads the offline encoder as the service says that it is.
    embed = {"/embed": (EmbedRequest, engine.embed), "/embed_query": (QueryRequest, engine.embed_query)}

    def post(client: object, path: str, body: dict[str, object]) -> dict[str, object]:
        kind, answer = embed[path]
        return answer(kind.model_validate(body, strict=False)).model_dump()  # type: ignore[operator]

    monkeypatch.setattr(parity, "_get", lambda client, path: engine.info())
    monkeypatch.setattr(parity, "_post", post)
    result = parity.check_parity("http://unused", model_folder, items, queries(shop))
    assert (result.n, result.model_digest) == (len(items) + 3, engine.encoder.digest)
    assert result.max_abs_diff < 1e-6


def test_a_shoppers_photograph_needs_no_detector_where_queries_have_no_crop(
    shop: Catalog, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a detector was made")

    monkeypatch.setattr(encoders, "make_detector", refuse)
    engine = _engine(place, "none", "none")
    assert engine.embed_query(QueryRequest.model_validate(parity.wire_query(queries(shop)[1]))).dims == 16


@pytest.mark.parametrize(("index", "crops"), [("both", "none"), ("none", None), ("none", "queries")])
def test_an_index_of_other_crops_is_refused(place: Path, index: str, crops: str | None) -> None:
    with pytest.raises(ServingError, match="another model"):
        _engine(place, index, crops)


def test_a_bento_is_packaged_with_an_index_of_its_crops(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "store"))

    def build(context: Path, version: str) -> None:
        assert Bundle.read(context / "bundle").config.crops == "none"
        target = packaging.bento_path(f"moon:{version}")
        target.mkdir(parents=True)
        (target / "bento.yaml").write_text("")

    monkeypatch.setattr(packaging, "_build", build)
    folder, plain = place / "none", ServingConfig(crops="none")
    assert package_bento(folder / "model", folder / "index", plain, version="1").built
    with pytest.raises(ServingError, match="other crops"):
        package_bento(folder / "model", place / "both" / "index", plain, version="1")
    with pytest.raises(ServingError, match="other crops"):
        package_bento(folder / "model", folder / "index", ServingConfig(), version="1")


def test_a_detector_of_ultralytics_may_be_left_out_where_no_crop_is_served(model_folder: Path, tmp_path: Path) -> None:
    stored = json.loads((model_folder / "config.json").read_text())
    stored["regions"]["backend"] = "yolo"
    (tmp_path / "config.json").write_text(json.dumps(stored))
    packaging._check_model_config(tmp_path, ServingConfig(crops="none"))
    for crops in (None, "queries"):
        with pytest.raises(ServingError, match="needs ultralytics") as caught:
            packaging._check_model_config(tmp_path, ServingConfig(crops=crops))  # type: ignore[arg-type]
        assert "serving.crops: none" in caught.value.fix


def test_a_pipeline_refuses_crops_that_its_model_is_trained_without() -> None:
    from moon.config import MoonConfig
    from pipelines.training import check_fits

    gate = {"policy": {"floors": {"image_to_product/recall@1": 0.0}}}
    for trained, served in (("none", "both"), ("products", "queries")):
        config = MoonConfig.model_validate({"model": {"crops": trained}, "serving": {"crops": served}, "gate": gate})
        with pytest.raises(ModelError, match="not trained with the crops") as caught:
            check_fits(config)
        assert caught.value.where == "serving.crops"
    check_fits(MoonConfig.model_validate({"serving": {"crops": "none"}, "gate": gate}))
