"""The service over ASGI: a 4xx with a JSON reason for everything a client can get wrong, and never a 500."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from tests.serving.fakes import RED, b64, picture

GOOD = {"title": "mug"}
BIG_NOISE = np.random.default_rng(0).integers(0, 255, (99, 99, 3), dtype=np.uint8)


def noise_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(BIG_NOISE).save(buffer, format="PNG")
    return buffer.getvalue()


BAD_REQUESTS: dict[str, tuple[str, Any, int, str]] = {
    "no products": ("/embed", {"products": []}, 400, "no products"),
    "empty object": ("/embed", {}, 400, "products"),
    "too many products": ("/embed", {"products": [GOOD] * 5}, 413, "too many products"),
    "empty product": ("/embed", {"products": [GOOD, {}]}, 400, "products[1]"),
    "blank title": ("/embed", {"products": [{"title": "  "}]}, 400, "neither a title nor an image"),
    "unknown field": ("/embed", {"products": [GOOD | {"colour": "red"}]}, 400, "colour"),
    "unknown top field": ("/embed", {"products": [GOOD], "hide": "title"}, 400, "hide"),
    "category is a string": ("/embed", {"products": [GOOD | {"category": "mugs"}]}, 400, "category"),
    "attributes are a list": ("/embed", {"products": [GOOD | {"attributes": ["red"]}]}, 400, "attributes"),
    "number for a title": ("/embed", {"products": [{"title": 3}]}, 400, "title"),
    "title too long": ("/embed", {"products": [{"title": "a" * 101}]}, 400, "too long"),
    "value too long": ("/embed", {"products": [GOOD | {"attributes": {"a": ["b" * 60] * 2}}]}, 400, "too long"),
    "too many attributes": (
        "/embed",
        {"products": [GOOD | {"attributes": {str(n): "x" for n in range(6)}}]},
        400,
        "too many entries",
    ),
    "too many levels": ("/embed", {"products": [GOOD | {"category": ["x"] * 6}]}, 400, "too many entries"),
    "too many images": ("/embed", {"products": [{"images": [b64(RED)] * 3}]}, 413, "too many images"),
    "bad image of many": (
        "/embed",
        {"products": [GOOD, {"images": [b64(RED), b64(b"not a picture")]}]},
        400,
        "products[1].images[1]",
    ),
    "too many pixels together": (
        "/embed",
        {"products": [{"images": [b64(picture(size=(100, 100)))] * 2}] * 2 + [{"images": [b64(picture(size=(1, 1)))]}]},
        413,
        "products[2].images[0]",
    ),
    "empty query": ("/embed_query", {}, 400, "query is empty"),
    "blank query": ("/search", {"text": " \n"}, 400, "query is empty"),
    "query too long": ("/search", {"text": "a" * 101}, 400, "too long"),
    "invalid base64": ("/search", {"image": "@@@@"}, 400, "base64"),
    "base64 outside ascii": ("/search", {"image": "ü" * 8}, 400, "base64"),
    "data url": ("/search", {"image": "data:image/png;base64," + b64(RED)}, 400, "base64"),
    "empty image": ("/search", {"image": ""}, 400, "empty"),
    "text as image": ("/search", {"image": b64(b"hello, this is text")}, 400, "not a picture"),
    "truncated image": ("/search", {"image": b64(RED[:-30])}, 400, "truncated"),
    "svg": ("/search", {"image": b64(b"<svg xmlns='http://www.w3.org/2000/svg'/>")}, 400, "not a picture"),
    "too many pixels": ("/search", {"image": b64(picture(size=(101, 100)))}, 400, "bomb"),
    "too many bytes": ("/search", {"image": b64(noise_png())}, 413, "too large"),
    "k zero": ("/search", {"text": "mug", "k": 0}, 400, "k is out of range"),
    "k negative": ("/search", {"text": "mug", "k": -3}, 400, "k is out of range"),
    "k too large": ("/search", {"text": "mug", "k": 51}, 400, "k is out of range"),
    "k enormous": ("/search", {"text": "mug", "k": 10**30}, 400, "k"),
    "k a string": ("/search", {"text": "mug", "k": "3"}, 400, "k"),
    "k a bool": ("/search", {"text": "mug", "k": True}, 400, "k"),
    "k a fraction": ("/search", {"text": "mug", "k": 1.5}, 400, "k"),
    "a list": ("/search", [1, 2], 400, "error"),
    "a string": ("/search", "mug", 400, "error"),
    "null": ("/search", None, 400, "error"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests_are_4xx_with_a_reason(client: TestClient, case: str) -> None:
    path, body, status, reason = BAD_REQUESTS[case]
    answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert reason in answer.text


@pytest.mark.parametrize(
    ("content", "headers", "status", "reason"),
    [
        (b"{", {"content-type": "application/json"}, 400, "JSON"),
        (b"\xff\xfe", {"content-type": "application/json"}, 400, "JSON"),
        (b'{"text": "\\ud800"}', {"content-type": "application/json"}, 400, "JSON"),
        (b"[" * 50_000, {"content-type": "application/json"}, 400, "JSON"),
        (b"text=mug", {"content-type": "application/x-www-form-urlencoded"}, 415, "content type"),
        (b"mug", {"content-type": "text/plain"}, 415, "content type"),
        (b"\x80\x04N.", {"content-type": "application/vnd.bentoml+pickle"}, 415, "content type"),
        (b"{}", {"content-type": "application/json", "content-encoding": "gzip"}, 415, "compressed"),
        (b"x" * 200_001, {"content-type": "application/json"}, 413, "body is too large"),
        (b"--b\r\n", {"content-type": "multipart/form-data"}, 400, "form"),
        (b"nonsense", {"content-type": "multipart/form-data; boundary=b"}, 400, "form"),
    ],
)
def test_bad_bodies_are_4xx_with_a_reason(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = client.post("/search", content=content, headers=headers)
    assert (answer.status_code, "error" in answer.json()) == (status, True), answer.text
    assert reason in answer.text


def test_a_body_without_length_is_cut_at_the_limit(client: TestClient) -> None:
    sent = 0

    def chunks() -> Any:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 10_000

    answer = client.post("/search", content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "more than 200,000 bytes" in answer.json()["got"]


@pytest.mark.parametrize(
    ("path", "data", "files", "reason"),
    [
        ("/search", {"text": "mug", "colour": "red"}, [], "colour"),
        ("/search", {"text": "mug", "k": "many"}, [], "k"),
        ("/search", {}, [("image", ("a.png", RED)), ("image", ("b.png", RED))], "twice"),
        ("/search", {}, [("image", ("a.png", b"no picture"))], "not a picture"),
        ("/search", {"image": "http://127.0.0.1:1/a.png"}, [("text", ("t.txt", b"mug"))], "base64"),
        ("/embed", {"product": "{"}, [("images", ("a.png", RED))], "not valid JSON"),
        ("/embed", {"product": '{"price": ' + "1" * 5000 + "}"}, [("images", ("a.png", RED))], "not valid JSON"),
        ("/embed", {"product": "[]"}, [("images", ("a.png", RED))], "not a JSON object"),
        ("/embed", {}, [("images", ("a.png", RED))] * 4, "Too many files"),
    ],
)
def test_bad_forms_are_4xx_with_a_reason(client: TestClient, path: str, data: Any, files: Any, reason: str) -> None:
    files = files or [("image", ("a.png", RED))]
    answer = client.post(path, data=data, files=files)
    assert answer.status_code == 400, answer.text
    assert reason in answer.text


def test_errors_show_no_values_beyond_the_clients_own(client: TestClient) -> None:
    text = client.post("/search", json={"text": "mug", "k": "secret" * 100}).text
    assert "secret" not in text
    assert "Traceback" not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["@", b64(RED)]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["products", "title", "images", "category", "attributes", "text", "image", "k", "description", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(path=st.sampled_from(["/embed", "/embed_query", "/search"]), body=JSON)
def test_no_json_body_gives_a_500(client: TestClient, path: str, body: Any) -> None:
    answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 413), (answer.status_code, answer.text)
    assert isinstance(answer.json(), dict)


PRODUCT = st.fixed_dictionaries(
    {},
    optional={
        "title": st.text(max_size=120),
        "category": st.lists(st.text(max_size=5), max_size=7),
        "attributes": st.dictionaries(
            st.text(max_size=5), st.text(max_size=9) | st.lists(st.text(max_size=5)), max_size=6
        ),
        "description": st.none() | st.text(max_size=9),
        "images": st.lists(st.sampled_from([b64(RED), b64(RED[:40]), "", "*"]), max_size=3),
        "product_id": st.text(max_size=9),
    },
)


@FUZZ
@given(products=st.lists(PRODUCT, max_size=5))
def test_no_almost_right_product_gives_a_500(client: TestClient, products: list[dict[str, Any]]) -> None:
    answer = client.post("/embed", json={"products": products})
    assert answer.status_code in (200, 400, 413), (answer.status_code, answer.text)
    if answer.status_code == 200:
        assert len(answer.json()["vectors"]) == len(products)


@FUZZ
@given(body=st.binary(max_size=200), boundary=st.sampled_from(["b", "", "ü", "b" * 80]))
def test_no_form_gives_a_500(client: TestClient, body: bytes, boundary: str) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={boundary}".encode("latin-1")}
    answer = client.post("/search", content=b"--b\r\n" + body + b"\r\n--b--\r\n", headers=headers)
    assert answer.status_code in (200, 400), (answer.status_code, answer.text)


@FUZZ
@given(data=st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: RED[:60] + tail))
def test_no_image_bytes_give_a_500(client: TestClient, data: bytes) -> None:
    answer = client.post("/embed_query", json={"image": b64(data)})
    assert answer.status_code in (200, 400), (answer.status_code, answer.text)
