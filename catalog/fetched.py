"""What became of every URL: the rows of manifest.jsonl, which fetching writes and sources look pictures up in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from catalog.errors import CatalogError

MANIFEST = "manifest.jsonl"
"""In the folder of the pictures; of several rows of a URL the last one counts."""


class Status(StrEnum):
    """What became of a URL."""

    OK = "ok"
    FAILED = "failed"
    """Asked for, and no usable picture came."""
    REFUSED = "refused"
    """Never asked for, because the policy forbids it."""


class Reason(StrEnum):
    """Why there is no picture."""

    BAD_URL = "bad_url"
    SCHEME = "scheme"
    CREDENTIALS = "credentials"
    PORT = "port"
    CLOSED_ADDRESS = "closed_address"
    DNS = "dns"
    DNS_FOR_NOW = "dns_for_now"
    CONNECTION = "connection"
    TLS = "tls"
    TIME_OUT = "time_out"
    HTTP_STATUS = "http_status"
    REDIRECTS = "redirects"
    CODING = "coding"
    TOO_LARGE = "too_large"
    PICTURE = "picture"
    HOST_GIVEN_UP = "host_given_up"


_PASSING = frozenset({Reason.DNS_FOR_NOW, Reason.CONNECTION, Reason.TIME_OUT, Reason.HOST_GIVEN_UP})


def is_passing(reason: str, http_status: int | None) -> bool:
    """Whether the same request may well succeed later: time-outs, broken connections, 408, 425, 429 and 5xx."""
    if reason == Reason.HTTP_STATUS and http_status is not None:
        return http_status in (408, 425, 429) or 500 <= http_status <= 599
    return reason in _PASSING


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the manifest."""

    url: str
    path: str | None
    """Below the folder; None without a picture."""
    sha256: str | None
    """Of the file's bytes."""
    num_bytes: int | None
    width: int | None
    """Pixels of the upright picture, as `catalog.images.decode_image` gives it."""
    height: int | None
    status: str
    reason: str
    """A short word for counting; empty when ok."""
    detail: str
    """The same for reading."""
    attempts: int
    """Requests of the run that wrote the row, redirects not counted; 0 for a file found in place."""
    http_status: int | None
    """Of the last answer; None where none came."""

    @property
    def passing(self) -> bool:
        """Whether a later run tries again unasked."""
        return self.status == Status.FAILED and is_passing(self.reason, self.http_status)


_COLUMNS = tuple(field.name for field in fields(Row))


def manifest_rows(lines: Iterable[bytes], where: str) -> Iterator[tuple[int, Row]]:
    """Every line with its number, a URL's later rows after its earlier ones; a last line cut by a kill is left out.

    Args:
        lines: Of the file, with their line breaks.
        where: The file, for a message.

    Raises:
        CatalogError: A line is no row; the file was not written by `moon data fetch-images`.
    """
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return
        yield number, _row_of(line, f"{where}:{number}")


def _row_of(line: bytes, where: str) -> Row:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if (
        not isinstance(found, dict)
        or not set(_COLUMNS) <= found.keys()
        or not isinstance(found["url"], str)
        or not isinstance(found["path"], str | None)
    ):
        raise CatalogError(
            "the manifest holds a line that is no row of it",
            where=where,
            got=line[:80].decode("utf-8", "replace").rstrip(),
            allowed=f"one JSON object with {', '.join(_COLUMNS)}",
            fix="fetch into another folder, or take the line out",
        )
    return Row(**{name: found[name] for name in _COLUMNS})
