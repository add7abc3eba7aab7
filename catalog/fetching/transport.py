"""An httpx transport over the guarded backend, and the client that uses it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version

import httpcore
import httpx

from catalog.fetching.config import FetchConfig
from catalog.fetching.guard import GuardedBackend


def open_client(
    config: FetchConfig, backend: GuardedBackend, ssl_context: ssl.SSLContext | None = None
) -> httpx.Client:
    """A client that reaches only what the backend dials: no proxy of the environment, no cookie, no redirect.

    Args:
        config: Time-outs, workers, contact.
        backend: Judges and dials.
        ssl_context: The authorities trusted; those of httpx by default.
    """
    context = ssl_context or httpx.create_ssl_context(trust_env=False)
    return httpx.Client(
        transport=GuardedTransport(backend, context, config.num_workers),
        timeout=httpx.Timeout(config.read_timeout_s, connect=config.connect_timeout_s),
        headers={"User-Agent": user_agent(config.contact), "Accept": "image/*", "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


def user_agent(contact: str = "") -> str:
    """Who asks, so that a host's owner can tell us apart and write to somebody."""
    try:
        number = version("moon-embeddings")
    except PackageNotFoundError:
        number = "0"
    return f"moon-fetch-images/{number}" + (f" (+{contact})" if contact else "")


class GuardedTransport(httpx.BaseTransport):
    """httpx on an httpcore pool with our own network backend.

    httpx' own transport takes no backend; putting one into its private parts would leave the guard out silently if
    those were ever renamed.

    Args:
        backend: Judges and dials.
        ssl_context: For TLS; names stay names there, whatever address was dialled.
        max_connections: Open at the same time.
    """

    def __init__(self, backend: httpcore.NetworkBackend, ssl_context: ssl.SSLContext, max_connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=15.0,
            network_backend=backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body comes as a stream."""
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.read(),
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = self._pool.handle_request(asked)
        return httpx.Response(
            status_code=answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            stream: Iterable[bytes] = self._answer.iter_stream()
            yield from stream

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """httpcore's errors under the names httpx documents; the cause stays attached."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.TimeoutException(str(error) or type(error).__name__) from error
    except httpcore.NetworkError as error:
        raise httpx.NetworkError(str(error) or type(error).__name__) from error
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise httpx.ProtocolError(str(error) or type(error).__name__) from error
