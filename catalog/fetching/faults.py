"""Why a download did not give a picture: a short reason for counting, a text for reading, and whether to try again."""

from __future__ import annotations

from catalog.fetched import Reason, Status, is_passing

REFUSALS = frozenset({Reason.BAD_URL, Reason.SCHEME, Reason.CREDENTIALS, Reason.PORT, Reason.CLOSED_ADDRESS})


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
