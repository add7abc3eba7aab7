"""The BentoML service. A Bento's entry module subclasses `MoonService` with its bundle and decorates it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import bentoml
from starlette.responses import JSONResponse

from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.engine import Engine
from serving.errors import RequestError
from serving.gate import RequestGate
from serving.pages import make_pages
from serving.wire import (
    EmbedRequest,
    EmbedResponse,
    HealthResponse,
    QueryRequest,
    QueryResponse,
    SearchRequest,
    SearchResponse,
)

SERVICE_NAME = "moon"


class MoonService:
    """Product embeddings and search: photos, words and products in one space."""

    bundle: ClassVar[Path]
    """Folder with model, index and manifest."""
    load_engine: ClassVar[Callable[[Bundle], Engine]] = Engine.load
    engine: ClassVar[Engine]

    def __init__(self) -> None:
        # On the class, because the pages beside the API need the same engine and know only the class.
        type(self).engine = type(self).load_engine(Bundle.read(self.bundle))

    @bentoml.api(output_spec=EmbedResponse)
    def embed(self, request: EmbedRequest, /) -> Any:
        """Embed products: title, category, attributes and images."""
        return _answer(self.engine.embed, request)

    @bentoml.api(output_spec=QueryResponse)
    def embed_query(self, request: QueryRequest, /) -> Any:
        """Embed a query: text, an image, or both."""
        return _answer(self.engine.embed_query, request)

    @bentoml.api(output_spec=SearchResponse)
    def search(self, request: SearchRequest, /) -> Any:
        """Find the k products closest to a query."""
        return _answer(self.engine.search, request)

    @bentoml.api
    def health(self) -> HealthResponse:
        """Embed and search once; also at GET /health."""
        return self.engine.health()

    @bentoml.api
    def info(self) -> dict[str, Any]:
        """Version, digests, lineage and limits; also at GET /info."""
        return self.engine.info()


def service_options(config: ServingConfig) -> dict[str, Any]:
    """Arguments of `bentoml.service` for this configuration."""
    return {
        "name": SERVICE_NAME,
        "workers": config.workers,
        "traffic": {"timeout": config.request_timeout_s, "max_concurrency": config.max_concurrency},
        "http": {"host": config.host, "port": config.port},
        "envs": [{"name": "BENTOML_DO_NOT_TRACK", "value": "True"}],
    }


def equip(service: bentoml.Service[Any], config: ServingConfig) -> bentoml.Service[Any]:
    """Put the gate before the service and the pages beside it; returns the same service."""
    max_files = config.max_images_per_item + 1
    service.add_asgi_middleware(RequestGate, max_body_bytes=config.max_body_bytes, max_files=max_files)
    service.mount_asgi_app(make_pages(lambda: service.inner.engine, explorer=config.explorer), path="/")
    return service


def _answer(method: Callable[[Any], Any], request: Any) -> Any:
    try:
        return method(request)
    except RequestError as error:
        # A Response: BentoML wraps its own 4xx in a list and drops everything but the message.
        return JSONResponse(error.to_dict(), status_code=error.status)
