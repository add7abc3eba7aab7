"""Parity: equal vectors pass, a single wrong one shows, and another model is refused."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from catalog import Catalog, Photo, QueryItem
from serving.errors import ServingError
from serving.launch import free_port
from serving.parity import check_health, check_parity, compare
from tests.serving.conftest import LIMITS
from tests.serving.fakes import FakeEncoder, picture, unit_rows

QUERIES = [QueryItem("a", "red mug"), QueryItem("b", None, Photo("b", data=picture())), QueryItem("c", "mug", None)]


@pytest.fixture(scope="module")
def url(client: TestClient) -> Iterator[str]:
    """The service of this room on a real port; `client` has started it."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(client.app, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_the_same_encoder_is_at_parity(url: str, mugs: Catalog) -> None:
    items = list(mugs.items())[:4]
    result = check_parity(url, "unused", items, QUERIES, encoder=FakeEncoder())
    assert (result.n, result.num_products, result.num_queries) == (7, 4, 3)
    assert result.min_cosine == pytest.approx(1.0, abs=1e-6)
    assert result.max_abs_diff == 0.0
    assert result.to_dict()["model_digest"] == FakeEncoder.digest


def test_one_wrong_vector_shows(url: str, mugs: Catalog) -> None:
    class Wrong(FakeEncoder):
        def embed_products(self, items: object, hide: frozenset[str] = frozenset()) -> np.ndarray:
            vectors_ND = super().embed_products(items, hide)  # type: ignore[arg-type]
            vectors_ND[-1] = unit_rows(1)[0]
            return vectors_ND

    result = check_parity(url, "unused", list(mugs.items())[:2], QUERIES, encoder=Wrong())
    assert result.min_cosine < 0.9
    assert result.max_abs_diff > 0.1


def test_another_model_is_refused(url: str) -> None:
    encoder = FakeEncoder()
    encoder.digest = "0" * 64
    with pytest.raises(ServingError, match="another model"):
        check_parity(url, "unused", [], QUERIES, encoder=encoder)


def test_what_the_service_does_not_take_is_left_out_and_counted(url: str, mugs: Catalog) -> None:
    mug = next(mugs.items(["mug-red"]))
    many = replace(mug, photos=mug.photos * 3)
    wordy = replace(mug, product=mug.product.model_copy(update={"title": "x" * 200}))
    wide = QueryItem("wide", None, Photo("w", data=picture(size=(200, 200))))
    long = QueryItem("long", "x" * 200)
    result = check_parity(url, "unused", [many, mug, wordy], [wide, *QUERIES, long], encoder=FakeEncoder())
    assert (result.num_products, result.num_queries, result.num_skipped) == (1, 3, 4)
    assert result.max_abs_diff == 0.0
    with pytest.raises(ServingError, match="beyond the service's limits"):
        check_parity(url, "unused", [many], [long], encoder=FakeEncoder())


def test_requests_are_cut_to_the_services_limits(url: str, mugs: Catalog) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (75, 75, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="PNG")
    mug = next(mugs.items(["mug-red"]))
    heavy = replace(mug, photos=(Photo("n", data=buffer.getvalue()),) * 2)
    assert 4 * len(buffer.getvalue()) * 2 * 4 / 3 > LIMITS.max_body_bytes * 0.9 > len(buffer.getvalue()) * 2 * 4 / 3
    result = check_parity(url, "unused", [heavy] * 6, [], encoder=FakeEncoder())
    assert (result.n, result.num_skipped, result.max_abs_diff) == (6, 0, 0.0)


def test_requests_are_cut_to_the_services_pixels(url: str, mugs: Catalog) -> None:
    mug = next(mugs.items(["mug-red"]))
    wide = replace(mug, photos=(Photo("w", data=picture(size=(100, 100))),) * 2)
    assert 2 * 20_000 <= LIMITS.max_request_pixels < 3 * 20_000
    result = check_parity(url, "unused", [wide] * 5, [], encoder=FakeEncoder())
    assert (result.n, result.num_skipped, result.max_abs_diff) == (5, 0, 0.0)


def test_a_refusal_is_told(url: str) -> None:
    with pytest.raises(ServingError, match="query is empty"):
        check_parity(url, "unused", [], [QueryItem("a", "  ")], encoder=FakeEncoder())


def test_nothing_to_compare_is_refused(url: str) -> None:
    with pytest.raises(ServingError, match="nothing to compare"):
        check_parity(url, "unused", [], [], encoder=FakeEncoder())


def test_a_service_that_is_not_there(url: str) -> None:
    with pytest.raises(ServingError, match="cannot be reached"):
        check_parity(f"http://127.0.0.1:{free_port()}", "unused", [], QUERIES, encoder=FakeEncoder())


def test_health_over_http(url: str, mugs: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    result = check_health(url)
    assert (result.healthy, result.num_products) == (True, len(mugs.products))
    monkeypatch.setattr(FakeEncoder, "embed_labels", lambda self, texts: np.zeros((1, 3), np.float32))
    result = check_health(url)
    assert not result.healthy
    assert "wrong shape" in result.reason


def test_a_large_body_over_a_real_socket_is_413(url: str) -> None:
    answer = httpx.post(f"{url}/search", content=b"x" * 300_000, headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_compare_refuses_what_is_not_finite(bad: float) -> None:
    vectors_ND = unit_rows(3)
    broken_ND = vectors_ND.copy()
    broken_ND[1, 1] = bad
    with pytest.raises(ServingError, match="not finite"):
        compare(broken_ND, vectors_ND, 3, 0, "d")


def test_compare_against_the_closed_form() -> None:
    a_ND, b_ND = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.6, 0.8]])
    result = compare(a_ND, b_ND, 2, 0, "d")
    assert result.min_cosine == pytest.approx(0.8)
    assert result.max_abs_diff == pytest.approx(0.6)
    with pytest.raises(ServingError, match="another shape"):
        compare(a_ND, b_ND[:1], 2, 0, "d")
