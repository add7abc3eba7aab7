"""What a browser or a probe gets with GET: the explorer, its pictures, info and health."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from catalog import MoonError
from serving.engine import Engine
from serving.errors import error_body


def make_pages(engine: Callable[[], Engine], *, explorer: bool) -> Starlette:
    """The GET side of the service.

    Args:
        engine: Gives the engine once the service has started.
        explorer: Whether `/` is the search page; BentoML's own page otherwise.
    """

    async def index(_: Request) -> Response:
        return HTMLResponse(resources.files("serving").joinpath("explorer.html").read_text(encoding="utf-8"))

    async def thumbnail(request: Request) -> Response:
        picture = await run_in_threadpool(engine().index.thumbnail, request.path_params["product_id"])
        if picture is None:
            return JSONResponse({"error": "no picture of this product"}, status_code=404)
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    async def info(_: Request) -> Response:
        return JSONResponse(engine().info())

    async def health(_: Request) -> Response:
        try:
            answer = await run_in_threadpool(engine().health)
        except MoonError as error:
            return JSONResponse({"status": "failed", **error_body(error)}, status_code=503)
        return JSONResponse(answer.model_dump(mode="json"))

    routes = [
        Route("/info", info),
        Route("/health", health),
        Route("/thumbnails/{product_id:path}", thumbnail),
    ]
    if explorer:
        routes.append(Route("/", index))
    return Starlette(routes=routes)
