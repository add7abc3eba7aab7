"""Does the service answer as the offline encoder does?  Asked over HTTP, of the Bento that would be promoted."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from catalog import Embedder, ImageError, ImageLimits, ProductItem, QueryItem
from catalog.images import probe_image
from serving.errors import ServingError
from serving.launch import running_bento

ITEMS_PER_REQUEST = 8
"""Another batch size than the offline encoder's, on purpose: a vector must not depend on its neighbours."""
BODY_FRAC = 0.9
"""Share of the largest allowed body that a request of several products may fill, as far as its strings tell."""
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class ParityResult:
    """How far served vectors are from offline ones."""

    min_cosine: float
    max_abs_diff: float
    n: int
    """Products and queries compared."""
    num_products: int
    num_queries: int
    model_digest: str
    num_skipped: int = 0
    """Products and queries beyond what the service takes in a request: more photographs, longer texts."""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class HealthResult:
    """What the service says about itself."""

    healthy: bool
    model_digest: str
    num_products: int
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


def check_parity(
    bento_tag_or_url: str,
    model_folder: str | Path,
    items: Iterable[ProductItem],
    queries: Iterable[QueryItem],
    *,
    encoder: Embedder | None = None,
) -> ParityResult:
    """Embed a sample over HTTP and offline, and compare.

    Args:
        bento_tag_or_url: A tag, served while this runs; or the address of a service that runs already.
        model_folder: The offline model.
        items: Products to compare; those beyond the service's limits are counted and left out.
        queries: Queries to compare; likewise.
        encoder: The offline encoder, when it is loaded already; else it is loaded as it is served: at that length, with
                those crops.

    Raises:
        ModelError: The offline model cannot be read, or was not trained for vectors of the length that is served.
        ServingError: Nothing to compare, the service cannot be reached, refuses an item, or serves another model.
    """
    products, asked = list(items), list(queries)
    if not products and not asked:
        raise ServingError("nothing to compare", where="items, queries", fix="give at least one product or query")
    with service_at(bento_tag_or_url) as url, httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client:
        info = _get(client, "/info")
        if encoder is None:
            from models.encoder import MoonEncoder

            encoder = MoonEncoder.load(model_folder, dims=info["model"]["dims"], crops=info["model"].get("crops"))
        served_digest = info["model"]["digest"]
        if served_digest != encoder.digest:
            raise ServingError(
                "the service serves another model",
                where=bento_tag_or_url,
                got=served_digest[:12],
                allowed=encoder.digest[:12],
                fix="package this version again",
            )
        limits = info["limits"]
        num_given = len(products) + len(asked)
        costs = [_cost(item, limits) for item in products]
        taken = [(item, cost) for item, cost in zip(products, costs, strict=True) if cost is not None]
        products = [item for item, _ in taken]
        asked = [item for item in asked if _cost(item, limits) is not None]
        num_skipped = num_given - len(products) - len(asked)
        if num_skipped == num_given:
            raise ServingError("nothing to compare: everything is beyond the service's limits", where="items, queries")
        served = [*_served_products(client, taken, limits), *_served_queries(client, asked)]
    offline = []
    if products:
        offline.append(encoder.embed_products(products))
    if asked:
        offline.append(encoder.embed_queries(asked))
    served_ND = np.asarray(served, dtype=np.float32)
    result = compare(served_ND, np.concatenate(offline), len(products), len(asked), encoder.digest)
    return replace(result, num_skipped=num_skipped)


def compare(
    served_ND: np.ndarray, offline_ND: np.ndarray, num_products: int, num_queries: int, model_digest: str
) -> ParityResult:
    """Distances between two sets of vectors, row by row.

    Raises:
        ServingError: Their shapes differ, or one holds a number that is not finite.
    """
    if served_ND.shape != offline_ND.shape:
        raise ServingError("served vectors have another shape", got=str(served_ND.shape), allowed=str(offline_ND.shape))
    if not (np.isfinite(served_ND).all() and np.isfinite(offline_ND).all()):
        raise ServingError("a vector is not finite")
    a_ND, b_ND = served_ND.astype(np.float64), offline_ND.astype(np.float64)
    cosines_N = (a_ND * b_ND).sum(axis=1) / (np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1))
    return ParityResult(
        min_cosine=float(cosines_N.min()),
        max_abs_diff=float(np.abs(a_ND - b_ND).max()),
        n=len(served_ND),
        num_products=num_products,
        num_queries=num_queries,
        model_digest=model_digest,
    )


def check_health(bento_tag_or_url: str) -> HealthResult:
    """Ask the service to embed and search once.

    Raises:
        ServingError: The service cannot be started or reached.
    """
    with service_at(bento_tag_or_url) as url, httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client:
        try:
            answer = client.get("/health")
        except httpx.TransportError as error:
            raise ServingError("the service cannot be reached", where=url, got=str(error)) from None
    if answer.status_code != httpx.codes.OK:
        return HealthResult(False, "", 0, reason=answer.text[:500])
    body = answer.json()
    return HealthResult(body["status"] == "ok", body["model_digest"], body["num_products"])


@contextlib.contextmanager
def service_at(bento_tag_or_url: str) -> Iterator[str]:
    """The address of a running service, started for the block when a tag is given."""
    if "://" in bento_tag_or_url:
        yield bento_tag_or_url.rstrip("/")
        return
    with running_bento(bento_tag_or_url) as url:
        yield url


def wire_product(item: ProductItem) -> dict[str, Any]:
    """The JSON of a product for POST /embed; its photographs are read."""
    product = item.product
    body: dict[str, Any] = {
        "product_id": product.product_id,
        "category": list(product.category),
        "attributes": {name: v if isinstance(v, str) else list(v) for name, v in product.attributes.items()},
        "images": [_base64(photo.read_bytes()) for photo in item.photos],
    }
    optional = {"title": product.title, "description": product.description}
    return body | {name: text for name, text in optional.items() if text}


def wire_query(item: QueryItem) -> dict[str, Any]:
    """The JSON of a query for POST /embed_query; its photograph is read."""
    body: dict[str, Any] = {}
    if item.text:
        body["text"] = item.text
    if item.photo is not None:
        body["image"] = _base64(item.photo.read_bytes())
    return body


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True)
class _Cost:
    """What an item's photographs take of a request."""

    num_chars: int
    """In base64."""
    num_pixels: int

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.num_chars + other.num_chars, self.num_pixels + other.num_pixels)

    def fits(self, limits: dict[str, Any]) -> bool:
        """Whether one request may hold as much."""
        within_body = self.num_chars <= limits["max_body_bytes"] * BODY_FRAC
        # A Bento from before this limit knows none.
        return within_body and self.num_pixels <= limits.get("max_request_pixels", self.num_pixels)


def _cost(item: ProductItem | QueryItem, limits: dict[str, Any]) -> _Cost | None:
    """What the item costs; None where the service does not take it at all."""
    if isinstance(item, ProductItem):
        product, photos = item.product, item.photos
        values = (v if isinstance(v, str) else " ".join(v) for v in product.attributes.values())
        texts = [product.product_id, product.title or "", product.description or "", *product.category]
        texts += [*product.attributes, *values]
        num_fields = max(len(product.category), len(product.attributes))
    else:
        photos, texts, num_fields = (item.photo,) if item.photo is not None else (), [item.text or ""], 0
    if len(photos) > limits["max_images_per_item"] or num_fields > limits["max_attributes"]:
        return None
    if any(len(text) > limits["max_text_chars"] for text in texts):
        return None
    image_limits = ImageLimits(max_bytes=limits["max_image_bytes"], max_pixels=limits["max_image_pixels"])
    cost = _Cost(0, 0)
    for photo in photos:
        data = photo.read_bytes()
        try:
            image = probe_image(data, photo.ref, image_limits)
        except ImageError:
            return None
        cost += _Cost(4 * -(-len(data) // 3), image.width * image.height)
    return cost if cost.fits(limits) else None


def _served_products(
    client: httpx.Client, items: Sequence[tuple[ProductItem, _Cost]], limits: dict[str, Any]
) -> Iterator[list[float]]:
    num_most = min(ITEMS_PER_REQUEST, limits["max_items_per_request"])
    batch: list[dict[str, Any]] = []
    spent = _Cost(0, 0)
    for item, cost in items:
        if batch and (len(batch) == num_most or not (spent + cost).fits(limits)):
            yield from _post(client, "/embed", {"products": batch})["vectors"]
            batch, spent = [], _Cost(0, 0)
        batch.append(wire_product(item))
        spent += cost
    if batch:
        yield from _post(client, "/embed", {"products": batch})["vectors"]


def _served_queries(client: httpx.Client, items: Sequence[QueryItem]) -> Iterator[list[float]]:
    for item in items:
        yield _post(client, "/embed_query", wire_query(item))["vector"]


def _get(client: httpx.Client, path: str) -> dict[str, Any]:
    return _answer(client, client.build_request("GET", path))


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return _answer(client, client.build_request("POST", path, json=body))


def _answer(client: httpx.Client, request: httpx.Request) -> dict[str, Any]:
    try:
        answer = client.send(request)
    except httpx.TransportError as error:
        raise ServingError("the service cannot be reached", where=str(request.url), got=str(error)) from None
    if answer.status_code != httpx.codes.OK:
        raise ServingError(
            "the service refused a request",
            where=str(request.url.path),
            got=f"{answer.status_code} {answer.text[:500]}",
        )
    body: dict[str, Any] = answer.json()
    return body
