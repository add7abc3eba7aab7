"""One request: the bytes of a body, a redirect, or the fault that stood in the way."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from catalog.fetched import Reason
from catalog.fetching.config import FetchConfig
from catalog.fetching.faults import FetchError
from catalog.fetching.guard import deadline_s


@dataclass(frozen=True)
class Body:
    """What came."""

    data: bytes
    http_status: int


@dataclass(frozen=True)
class Redirect:
    """The picture is said to be elsewhere."""

    place: str
    """Absolute URL, not yet checked."""


def download(
    client: httpx.Client, url: httpx.URL, config: FetchConfig, spend: Callable[[int], None] = lambda num_bytes: None
) -> Body | Redirect:
    """Ask once for a URL and read the body up to the cap, whatever its headers promise.

    Args:
        client: As `open_client` makes it.
        url: Checked.
        config: Time-outs and caps.
        spend: Told of every piece as it arrives; what it raises ends the request.

    Raises:
        FetchError: Neither a whole body came nor a redirect.
    """
    mark = deadline_s.set(time.monotonic() + config.total_timeout_s)
    try:
        with client.stream("GET", url) as response:
            if response.next_request is not None:
                return Redirect(str(response.next_request.url))
            _check_answer(response, config)
            return Body(_read_body(response, config, spend), response.status_code)
    except httpx.TimeoutException as error:
        raise FetchError(Reason.TIME_OUT, str(error) or "timed out") from None
    except httpx.RemoteProtocolError as error:
        # Only httpx itself raises this one here, for a redirect it cannot read; broken answers come as ProtocolError.
        raise FetchError(Reason.REDIRECTS, str(error)[:200]) from None
    except httpx.HTTPError as error:
        if _is_tls(error):
            raise FetchError(Reason.TLS, str(error)) from None
        raise FetchError(Reason.CONNECTION, str(error) or type(error).__name__) from None
    finally:
        deadline_s.reset(mark)


def _check_answer(response: httpx.Response, config: FetchConfig) -> None:
    status = response.status_code
    if status != httpx.codes.OK:
        raise FetchError(
            Reason.HTTP_STATUS,
            f"{status} {response.reason_phrase}".strip(),
            http_status=status,
            retry_after_s=parse_retry_after(response.headers.get("retry-after", "")),
        )
    # Unpacking would let a few bytes grow without bound before any cap of ours sees them; none was asked for.
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise FetchError(Reason.CODING, f"packed as {coding[:40]}, which was not asked for", http_status=status)
    promised = response.headers.get("content-length", "")
    if promised.isdecimal() and int(promised[:19]) > config.max_image_bytes:
        raise FetchError(Reason.TOO_LARGE, f"promises {int(promised[:19]):,} bytes", http_status=status)


def _read_body(response: httpx.Response, config: FetchConfig, spend: Callable[[int], None]) -> bytes:
    pieces: list[bytes] = []
    num_bytes = 0
    for piece in response.iter_raw():
        spend(len(piece))
        num_bytes += len(piece)
        if num_bytes > config.max_image_bytes:
            raise FetchError(
                Reason.TOO_LARGE, f"goes on after {config.max_image_bytes:,} bytes", http_status=response.status_code
            )
        pieces.append(piece)
    return b"".join(pieces)


def parse_retry_after(text: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Seconds that a Retry-After header asks for, never negative; None where it says nothing one can read.

    Source: RFC 9110, 10.2.3: a whole number of seconds, or a date.
    """
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:12])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now()).total_seconds())


def _is_tls(error: BaseException | None) -> bool:
    """Whether a certificate or a protocol version is at the bottom of it: no later attempt mends that."""
    seen = 0
    while error is not None and seen < 8:
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
