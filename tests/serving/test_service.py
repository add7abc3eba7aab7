"""The service over ASGI: right answers, what it says of itself, and how it fails when its encoder does."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from starlette.testclient import TestClient

from catalog import Catalog, Photo, Product, ProductItem, QueryItem
from serving.config import ServingConfig
from serving.parity import wire_product
from tests.serving.conftest import LIMITS, REGIONS
from tests.serving.fakes import GREEN, RED, FakeEncoder, b64, picture


def test_embedded_products_equal_the_offline_encoders(client: TestClient, mugs: Catalog) -> None:
    items = list(mugs.items())[:4]
    answer = client.post("/embed", json={"products": [wire_product(item) for item in items]}).json()
    np.testing.assert_array_equal(np.float32(answer["vectors"]), FakeEncoder().embed_products(items))
    assert answer["product_ids"] == [item.product.product_id for item in items]
    assert (answer["dims"], answer["model_digest"]) == (FakeEncoder.dims, FakeEncoder.digest)


@pytest.mark.parametrize(
    ("text", "image"),
    [("green mug", None), ("green mug", GREEN), (None, GREEN), ("Кружка 杯子 🙂 \u202bכוס\u202c", None)],
)
def test_an_embedded_query_equals_the_offline_encoders(
    client: TestClient, text: str | None, image: bytes | None
) -> None:
    body = {name: value for name, value in (("text", text), ("image", image and b64(image))) if value}
    photo = Photo("q", data=image) if image else None
    expected = FakeEncoder().embed_queries([QueryItem("q", text, photo)])[0]
    answer = client.post("/embed_query", json=body).json()
    np.testing.assert_array_equal(np.float32(answer["vector"]), expected)


def test_search_finds_the_green_mug(client: TestClient) -> None:
    answer = client.post("/search", json={"text": "green mug", "image": b64(GREEN), "k": 2}).json()
    first = answer["hits"][0]
    assert (first["product_id"], first["title"], first["category"]) == ("mug-green", "green mug", ["kitchen", "mugs"])
    assert len(answer["hits"]) == 2
    assert answer["hits"][0]["score"] >= answer["hits"][1]["score"]
    assert len(client.post("/search", json={"text": "mug"}).json()["hits"]) == LIMITS.default_k


def test_forms_answer_as_json_does(client: TestClient) -> None:
    body = {"text": "green mug", "image": b64(GREEN), "k": 2}
    form = client.post("/search", data={"text": "green mug", "k": "2"}, files={"image": ("a.png", GREEN)})
    assert form.json() == client.post("/search", json=body).json()
    product = {"product_id": "x", "title": "two pictures", "attributes": {"colour": "red"}}
    files = [("images", ("a.png", RED)), ("images", ("b.png", GREEN))]
    form = client.post("/embed", data={"product": json.dumps(product)}, files=files)
    same = client.post("/embed", json={"products": [product | {"images": [b64(RED), b64(GREEN)]}]})
    assert form.json() == same.json()
    assert form.status_code == 200


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_allowed_format(client: TestClient, fmt: str) -> None:
    assert client.post("/embed_query", json={"image": b64(picture(fmt=fmt))}).status_code == 200


@pytest.mark.parametrize("mode", ["CMYK", "P", "LA", "RGBA", "I;16", "1"])
def test_odd_modes_are_decoded_as_offline(client: TestClient, mode: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 30, 30)).convert("L" if mode == "I;16" else "RGB").convert(mode).save(
        buffer, format="TIFF" if mode in ("CMYK", "I;16") else "PNG"
    )
    expected = FakeEncoder().embed_queries([QueryItem("q", None, Photo("q", data=buffer.getvalue()))])[0]
    answer = client.post("/embed_query", json={"image": b64(buffer.getvalue())})
    np.testing.assert_array_equal(np.float32(answer.json()["vector"]), expected)


def test_info_says_which_version_and_no_path(client: TestClient, mugs: Catalog) -> None:
    for answer in (client.get("/info"), client.post("/info", json={})):
        info = answer.json()
        assert (info["version"], info["labels"]) == ("v7", {"run_id": "r1"})
        assert info["model"]["digest"] == FakeEncoder.digest
        assert info["model"]["regions"] == REGIONS
        assert info["model"]["lineage"] == {"commit": "abc", "steps": 3}
        assert info["index"]["catalog_digest"] == mugs.digest
        assert info["limits"]["max_top_k"] == 50
        assert info["ultralytics_included"] is False
        assert "/home" not in answer.text


def test_health_and_probes(client: TestClient, mugs: Catalog) -> None:
    expected = {"status": "ok", "model_digest": FakeEncoder.digest, "num_products": len(mugs.products)}
    assert client.get("/health").json() == expected
    assert client.post("/health", json={}).json() == expected
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


def test_health_fails_when_the_encoder_does(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEncoder, "embed_labels", lambda self, texts: np.full((1, self.dims), np.nan, np.float32))
    answer = client.get("/health")
    assert answer.status_code == 503
    assert "not finite" in answer.json()["error"]


def test_the_encoders_own_failure_is_a_500_without_detail(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FakeEncoder, items: Any) -> np.ndarray:
        raise RuntimeError("weights at /home/someone are gone")

    monkeypatch.setattr(FakeEncoder, "embed_queries", broken)
    answer = client.post("/search", json={"text": "mug"})
    assert answer.status_code == 500
    assert "/home" not in answer.text


def test_explorer_and_its_pictures(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script src" not in page.text
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    picture_answer = client.get("/thumbnails/mug%2Fgrey's")
    assert picture_answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(picture_answer.content)).size == (24, 18)
    assert client.get("/thumbnails/card").status_code == 404


def test_openapi_knows_the_endpoints(client: TestClient) -> None:
    paths = client.get("/docs.json").json()["paths"]
    assert {"/embed", "/embed_query", "/search", "/info", "/health"} <= set(paths)


@pytest.mark.parametrize(
    "given", [{"default_k": 20, "max_top_k": 10}, {"max_image_pixels": 9_000_000, "max_request_pixels": 8_000_000}]
)
def test_limits_that_contradict_each_other_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="is above"):
        ServingConfig(**given)


def test_a_product_needs_no_photograph_on_disk() -> None:
    item = ProductItem(Product(product_id="p", group_id="p", images=("x",)), (Photo("x", data=RED),))
    assert wire_product(item)["images"] == [b64(RED)]
