"""A real server on this machine that misbehaves on request, and a network in which names lead to it."""

from __future__ import annotations

import io
import socket
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
from PIL import Image

from catalog.fetching import FetchConfig

PUBLIC = "93.184.216.34"
"""An address that the policy lets pass; no test dials it."""


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6), colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """The bytes of a small picture."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


def bomb(side_px: int = 30_000) -> bytes:
    """A PNG of a few dozen bytes whose header promises `side_px` squared pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what the tests are about."""


class Shop:
    """The server: paths to answers, and what was asked of it.

    Each answer is called with the handler and the number of the request for its path, from 1 on.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Any, int], None]] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.at_once = self.most_at_once = 0
        self.release = threading.Event()
        """Set when the test is over, so that nothing hangs on a slow answer."""
        self._lock = threading.Lock()
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with shop._lock:
                    shop.asked[self.path] += 1
                    number = shop.asked[self.path]
                    shop.headers.append(dict(self.headers))
                    shop.at_once += 1
                    shop.most_at_once = max(shop.most_at_once, shop.at_once)
                try:
                    shop.answers.get(self.path, status(404))(self, number)
                except OSError:
                    self.close_connection = True
                finally:
                    with shop._lock:
                        shop.at_once -= 1

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the test's output clean."""

        self.server = _QuietServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The URL of a path, by the address or by a name of the test's network."""
        return f"http://{host}:{self.port}{path}"

    def add(self, path: str, answer: Callable[[Any, int], None], host: str = "127.0.0.1") -> str:
        """Serve an answer; returns its URL."""
        self.answers[path] = answer
        return self.url(path, host)

    def config(self, **changes: Any) -> FetchConfig:
        """Limits for a test: the server's port, no politeness that costs time."""
        base: dict[str, Any] = {
            "allow_private": True,
            "ports": (80, 443, self.port),
            "host_delay_s": 0.0,
            "backoff_s": 0.001,
            "max_backoff_s": 0.01,
            "read_timeout_s": 5.0,
            "num_workers": 4,
        }
        return FetchConfig(**(base | changes))


@contextmanager
def open_shop() -> Iterator[Shop]:
    """A running server."""
    shop = Shop()
    thread = threading.Thread(target=shop.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        shop.release.set()
        shop.server.shutdown()
        shop.server.server_close()
        thread.join()


def send(handler: Any, body: bytes, code: int = 200, **headers: str) -> None:
    """Answer with a body of stated length."""
    handler.send_response(code)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def body(data: bytes, **headers: str) -> Callable[[Any, int], None]:
    """Always the same body."""
    return lambda handler, number: send(handler, data, **headers)


def status(code: int, **headers: str) -> Callable[[Any, int], None]:
    """Always the same status, and no picture."""
    return lambda handler, number: send(handler, b"no", code, **headers)


def after(num: int, first: Callable[[Any, int], None], then: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    """`first` for so many requests, `then` from there on."""
    return lambda handler, number: (first if number <= num else then)(handler, number)


def endless(shop: Shop, piece: bytes, pause_s: float = 0.0) -> Callable[[Any, int], None]:
    """A body without end and without stated length, `piece` by `piece`."""

    def answer(handler: Any, number: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not shop.release.wait(pause_s):
            handler.wfile.write(piece)

    return answer


def silent(shop: Shop) -> Callable[[Any, int], None]:
    """Takes the request and says nothing."""

    def answer(handler: Any, number: int) -> None:
        shop.release.wait(30)
        handler.close_connection = True

    return answer


class Network(httpcore.NetworkBackend):
    """A network whose name server and wires are ours: every name has the addresses given, every wire ends at a shop.

    Args:
        shop: Where connections end.
        names: Host to one list of addresses, or to several that are answered in turn, the last for good.
        dead: Addresses at which nothing answers.
    """

    def __init__(
        self, shop: Shop, names: dict[str, Sequence[str] | Sequence[Sequence[str]]], dead: Collection[str] = ()
    ) -> None:
        self.shop, self.names, self.dead = shop, names, dead
        self.looked_up: list[str] = []
        self.dialled: list[str] = []

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a name."""
        self.looked_up.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = self.names[host]
        if found and not isinstance(found[0], str):
            found = found[min(self.looked_up.count(host), len(found)) - 1]
        return [str(address) for address in found]

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """A connection to the shop, whatever the address; keeps which it was."""
        self.dialled.append(host)
        if host in self.dead:
            raise httpcore.ConnectError("nothing answers")
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.shop.port, *args, **kwargs)
