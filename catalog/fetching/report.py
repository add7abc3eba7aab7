"""What came of a run, in numbers and in lines to read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from catalog.fetched import Reason, Row, Status

_MOST_HOSTS = 5
_MIB = 2**20


class Ended(StrEnum):
    """Why a run handed out no further URL."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    BYTES_SPENT = "bytes_spent"


@dataclass(frozen=True)
class HostRow:
    """One host of a run."""

    name: str
    num_requests: int
    num_failed: int
    """URLs that failed there for this run."""
    busy_s: float
    """Seconds its requests took, decoding included, over all workers."""
    given_up: str
    """Why it was left alone; empty otherwise."""

    @property
    def request_s(self) -> float:
        """Seconds a request, on average."""
        return self.busy_s / self.num_requests if self.num_requests else 0.0


@dataclass(frozen=True)
class FetchReport:
    """What came of a run."""

    num_urls: int
    """Different URLs that were asked for."""
    rows: dict[str, Row]
    """By URL, those of earlier runs included; a URL that the run did not come to has none."""
    hosts: list[HostRow]
    num_new: int
    """URLs that this run settled."""
    num_bytes: int
    """Read in this run."""
    ended: Ended

    @property
    def statuses(self) -> Counter[str]:
        """URLs by status."""
        return Counter(row.status for row in self.rows.values())

    @property
    def num_left(self) -> int:
        """URLs the run did not come to."""
        return self.num_urls - len(self.rows)

    @property
    def failed_frac(self) -> float:
        """Share of the settled URLs that have no picture."""
        return 1.0 - self.statuses[Status.OK] / len(self.rows) if self.rows else 0.0

    def reasons(self) -> Counter[str]:
        """URLs without a picture by reason: `http_status 404`, `picture: file is not a picture`, ..."""
        return Counter(_told(row) for row in self.rows.values() if row.status != Status.OK)

    def lines(self) -> list[str]:
        """The report as text."""
        statuses = self.statuses
        lines = [
            f"{self.num_urls:,} URLs: {statuses[Status.OK]:,} ok, {statuses[Status.FAILED]:,} failed, "
            f"{statuses[Status.REFUSED]:,} refused, {self.num_left:,} not yet asked for; "
            f"this run settled {self.num_new:,} and read {self.num_bytes / _MIB:,.1f} MiB"
        ]
        lines += [f"  {count:>8,}  {reason}" for reason, count in self.reasons().most_common()]
        failing = sorted((host for host in self.hosts if host.num_failed), key=lambda host: -host.num_failed)
        if failing:
            lines.append("hosts that failed most:")
            lines += [
                f"  {host.num_failed:>8,}  {host.name}" + (f" (left alone: {host.given_up})" if host.given_up else "")
                for host in failing[:_MOST_HOSTS]
            ]
        slow = sorted((host for host in self.hosts if host.num_requests), key=lambda host: -host.request_s)
        if slow:
            lines.append("slowest hosts, seconds a request:")
            lines += [f"  {host.request_s:>8.2f}  {host.name}" for host in slow[:_MOST_HOSTS]]
        return lines


def _told(row: Row) -> str:
    if row.reason == Reason.HTTP_STATUS:
        return f"{row.reason} {row.http_status}"
    return f"{row.reason}: {row.detail}" if row.reason == Reason.PICTURE else row.reason
