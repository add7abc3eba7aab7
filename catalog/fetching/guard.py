"""What may be asked for, and where a connection really goes: names are resolved, judged and dialled in one breath."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from catalog.fetched import Reason
from catalog.fetching.addresses import parse_address, why_closed
from catalog.fetching.faults import FetchError

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port to the addresses the name has, in the order to try them; raises `OSError` as getaddrinfo does."""

_NAME = re.compile(r"[a-z0-9._-]{1,253}")
_SCHEMES = ("http", "https")
_MOST_ADDRESSES = 4
"""Of one name that are dialled before its host counts as unreachable."""

deadline_s: ContextVar[float] = ContextVar("deadline_s")
"""When the request of this thread must be over, on the monotonic clock: the backend sees only single reads."""


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses that the operating system gives for a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def check_url(text: str, ports: Iterable[int], *, allow_private: bool = False) -> httpx.URL:
    """The parsed URL, if its form is one that may be asked for.

    Raises:
        FetchError: No URL, another scheme than http and https, user or password in it, a port that is not allowed, or
            this machine by name.
    """
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchError(Reason.BAD_URL, f"not a URL: {error}"[:200]) from None
    if url.scheme not in _SCHEMES:
        raise FetchError(Reason.SCHEME, f"scheme {url.scheme or '(none)'}, allowed: {', '.join(_SCHEMES)}")
    if parse_address(host) is None and not _NAME.fullmatch(host):
        raise FetchError(Reason.BAD_URL, f"host {host[:80]!r} is no name" if host else "a URL without a host")
    if url.userinfo:
        raise FetchError(Reason.CREDENTIALS, "a URL with user or password in it")
    port = url.port if url.port is not None else 443 if url.scheme == "https" else 80
    if port not in (allowed := tuple(ports)):
        raise FetchError(Reason.PORT, f"port {port}, allowed: {', '.join(map(str, allowed))}")
    name = host.rstrip(".").lower()
    if not allow_private and (name == "localhost" or name.endswith(".localhost")):
        raise FetchError(Reason.CLOSED_ADDRESS, f"{name} is this machine")
    return url


class Guard:
    """Turns a host into addresses that may be dialled.

    Args:
        resolver: Where answers come from.
        allow_private: Judge nothing; the answers are dialled as they are.
    """

    def __init__(self, resolver: Resolver = system_resolver, *, allow_private: bool = False) -> None:
        self.resolver, self.allow_private = resolver, allow_private

    def addresses(self, host: str, port: int) -> list[str]:
        """Every address of a host, each of them judged.

        Raises:
            FetchError: The name has no address, or **any** of them is not public: a name that mixes public and private
                answers is a trap or a mistake.
        """
        try:
            answers = list(self.resolver(host, port))
        except socket.gaierror as error:
            passing = error.errno == socket.EAI_AGAIN
            reason = Reason.DNS_FOR_NOW if passing else Reason.DNS
            raise FetchError(reason, f"{host} has no address: {error.strerror}") from None
        except (OSError, UnicodeError) as error:
            raise FetchError(Reason.DNS, f"{host} has no address: {error}") from None
        if not answers:
            raise FetchError(Reason.DNS, f"{host} has no address")
        for answer in answers:
            address = parse_address(answer)
            why = "no address" if address is None else "" if self.allow_private else why_closed(address)
            if why:
                raise FetchError(Reason.CLOSED_ADDRESS, f"{host} is at {answer}: {why}")
        return answers


class GuardedBackend(httpcore.NetworkBackend):
    """Dials the very address that was judged, so that no second answer of the name server can come between.

    Args:
        guard: Judges.
        dial: The backend that opens sockets; it only ever sees addresses.
    """

    def __init__(self, guard: Guard, dial: httpcore.NetworkBackend | None = None) -> None:
        self.guard, self.dial = guard, dial or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to `host`, whose addresses are looked up and judged here and nowhere else."""
        options = list(socket_options or ())
        last: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self.guard.addresses(host, port)[:_MOST_ADDRESSES]:
            try:
                return _InTime(self.dial.connect_tcp(address, port, _left(timeout), local_address, options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last


class _InTime(httpcore.NetworkStream):
    """A stream none of whose operations outlasts the request's deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _InTime(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None) -> float | None:
    """The time-out, or what is left until the deadline if that is less."""
    end = deadline_s.get(None)
    if end is None:
        return timeout
    left = end - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time for the whole request is over")
    return left if timeout is None else min(timeout, left)
