"""Why a download did not give a picture: a short reason for counting, a text for reading, and whether to try again."""

from __future__ import annotations

from enum import StrEnum


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


REFUSALS = frozenset({Reason.BAD_URL, Reason.SCHEME, Reason.CREDENTIALS, Reason.PORT, Reason.CLOSED_ADDRESS})
_PASSING = frozenset({Reason.DNS_FOR_NOW, Reason.CONNECTION, Reason.TIME_OUT, Reason.HOST_GIVEN_UP})


def is_passing(reason: str, http_status: int | None) -> bool:
    """Whether the same request may well succeed later: time-outs, broken connections, 408, 425, 429 and 5xx."""
    if reason == Reason.HTTP_STATUS and http_status is not None:
        return http_status in (408, 425, 429) or 500 <= http_status <= 599
    return reason in _PASSING


class FetchError(Exception):
    """A download that gave no picture; caught where its row is written.

    Args:
        reason: For counting.
        detail: For reading, one line.
        http_status: Of the answer, where there was one.
        retry_after_s: How long the server asked to be left alone, seconds.
    """

    def __init__(
        self, reason: Reason, detail: str, *, http_status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.http_status, self.retry_after_s = reason, detail, http_status, retry_after_s

    @property
    def status(self) -> Status:
        return Status.REFUSED if self.reason in REFUSALS else Status.FAILED

    @property
    def passing(self) -> bool:
        return is_passing(self.reason, self.http_status)
