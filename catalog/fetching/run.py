"""Fetch many URLs into a folder: workers over the schedule, a row for each URL, and what came of it all."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import httpcore
import httpx

from catalog.errors import StorageError
from catalog.fetched import Reason, Row, Status
from catalog.fetching.config import FetchConfig
from catalog.fetching.download import Redirect, download
from catalog.fetching.faults import FetchError
from catalog.fetching.guard import Guard, GuardedBackend, Resolver, check_url, system_resolver
from catalog.fetching.hosts import HostQueues, Schedule, Task
from catalog.fetching.manifest import Manifest, locked
from catalog.fetching.report import Ended, FetchReport, HostRow
from catalog.fetching.store import ImageStore, Stored
from catalog.fetching.transport import open_client
from catalog.images import ImageLimits

Progress = Callable[[int, int, int], None]
"""Told of URLs settled, URLs to settle and bytes read, after each URL."""

_TOO_BUSY = (429, 503)
"""Answers that speak of the host and not of the picture: the host is left in peace, not only the URL."""
_HOST_WIDE = (Reason.CLOSED_ADDRESS, Reason.DNS)
"""What holds for every URL of a host for the rest of the run."""


def fetch_images(
    urls: Iterable[str],
    folder: str | Path,
    config: FetchConfig = FetchConfig(),
    *,
    retry_failed: bool = False,
    resolver: Resolver = system_resolver,
    dial: httpcore.NetworkBackend | None = None,
    ssl_context: ssl.SSLContext | None = None,
    progress: Progress | None = None,
) -> FetchReport:
    """Bring the picture of each URL into a folder, politely, and keep a manifest of what became of each.

    A picture lies at `DIGEST[:2]/DIGEST.EXT`, DIGEST being the SHA-256 of the URL. What the manifest has as fetched
    and what failed for good is not asked for again.

    Args:
        urls: As the catalogue has them; each is fetched once, however often it comes.
        folder: Made if it is not there.
        config: Limits.
        retry_failed: Ask again also for what was refused or failed for good.
        resolver: Where the addresses of names come from.
        dial: What opens sockets to addresses, once they are judged.
        ssl_context: The authorities trusted; those of httpx by default.
        progress: Told after each URL, from the workers' threads, one at a time.

    Returns:
        What came of it. A run that was interrupted or has spent its bytes says so there.

    Raises:
        StorageError: The folder cannot be written, or another run is at work in it.
        CatalogError: The folder holds a manifest that is not ours.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            run = _Run(folder, config, progress)
            backend = GuardedBackend(Guard(resolver, allow_private=config.allow_private), dial)
            with open_client(config, backend, ssl_context) as client:
                return run.fetch(list(dict.fromkeys(urls)), client, retry_failed=retry_failed)
    except OSError as error:
        raise StorageError(
            "the folder for images cannot be used",
            where=str(folder),
            got=str(error),
            fix="choose another, or make room",
        ) from None


class _StoppedError(Exception):
    """The run ends while a body is being read."""


class _Run:
    def __init__(self, folder: Path, config: FetchConfig, progress: Progress | None) -> None:
        self.config, self.progress = config, progress
        self.manifest = Manifest(folder)
        self.store = ImageStore(folder, ImageLimits(config.max_image_bytes, config.max_image_pixels))
        self.queues = HostQueues(config.host_concurrency, config.host_delay_s)
        self.schedule = Schedule(self.queues)
        self.rows: dict[str, Row] = {}
        self.num_to_do = self.num_new = self.num_bytes = 0
        self._given_up: dict[str, FetchError] = {}
        self._count = threading.Lock()
        self._random = random.Random()

    def fetch(self, urls: list[str], client: httpx.Client, *, retry_failed: bool) -> FetchReport:
        """Settle every URL that is open."""
        self.store.clear_partial()
        before = self.manifest.latest()
        self.rows = {url: row for url in urls if (row := before.get(url)) and not self._is_open(row, retry_failed)}
        to_do = [url for url in urls if url not in self.rows]
        self.num_to_do = len(to_do)
        with self.manifest.appending():
            self._let_work(to_do, client)
        self.store.clear_partial()
        hosts = [
            HostRow(name, state.num_requests, state.num_failed, state.busy_s, str(self._given_up.get(name, "")))
            for name, state in self.queues.hosts.items()
        ]
        ended = Ended(self.schedule.stopped)
        return FetchReport(len(urls), self.rows, hosts, self.num_new, self.num_bytes, ended)

    def _is_open(self, row: Row, retry_failed: bool) -> bool:
        """Whether a URL with this row is to be asked for again."""
        if row.status == Status.OK:
            return not self.store.holds(row.path or "", row.num_bytes or 0)
        return row.passing or retry_failed

    def _let_work(self, to_do: list[str], client: httpx.Client) -> None:
        num_workers = min(self.config.num_workers, max(1, len(to_do)))
        left = iter(to_do)
        with ThreadPoolExecutor(num_workers, thread_name_prefix="fetch") as pool:
            futures = [pool.submit(self._work, client) for _ in range(num_workers)]
            try:
                while True:
                    try:
                        self._fill(left)
                        wait(futures)
                        break
                    except KeyboardInterrupt:
                        # Bodies that are being read end at their next piece, silent hosts at their time-out.
                        self.schedule.stop(Ended.INTERRUPTED)
            finally:
                self.schedule.stop(Ended.DONE)
        for future in futures:
            future.result()

    def _fill(self, left: Iterator[str]) -> None:
        """Queue what is left, while the workers are at it already; pictures that lie in their place need no request."""
        for url in left:
            if self.schedule.stopped:
                return
            found = self.store.find(url)
            with self.schedule.lock:
                if found:
                    self._settle(_row(Task(url), found, attempts=0))
                else:
                    self._queue(Task(url), url)
                    self.schedule.changed()
        self.schedule.filled()

    def _work(self, client: httpx.Client) -> None:
        try:
            while (task := self.schedule.take()) is not None:
                self._ask(task, client)
        finally:
            # Nothing is left to do, or a fault of ours ends the run: either way for all workers.
            self.schedule.stop(Ended.DONE)

    def _ask(self, task: Task, client: httpx.Client) -> None:
        """One request for a task, and what follows from it."""
        host, start_s = task.host, self.schedule.clock()
        outcome = self._outcome(task, client)
        with self.schedule.lock:
            self.queues.release(host, self.schedule.clock() - start_s)
            if isinstance(outcome, Redirect):
                self._queue(task, outcome.place, hops=task.hops + 1)
            elif isinstance(outcome, FetchError):
                self._after(task, outcome)
            elif outcome is not None:
                self.queues.hosts[host].faults_in_a_row = 0
                self._settle(outcome)
            self.schedule.changed()

    def _outcome(self, task: Task, client: httpx.Client) -> Row | Redirect | FetchError | None:
        """The row of a picture, or why there is none; None where the run was ended meanwhile."""
        try:
            url = check_url(task.place, self.config.ports, allow_private=self.config.allow_private)
            answer = download(client, url, self.config, self._spend)
        except FetchError as error:
            return error
        except _StoppedError:
            return None
        if isinstance(answer, Redirect):
            return answer
        try:
            stored = self.store.save(task.url, answer.data)
        except FetchError as error:
            error.http_status = answer.http_status
            return error
        return _row(task, stored, attempts=task.attempts + 1, http_status=answer.http_status)

    def _queue(self, task: Task, place: str, *, hops: int = 0, not_before_s: float = 0.0) -> None:
        """Let a task wait for its turn at the host of `place`, or settle it where that may not be asked."""
        task.place, task.hops = place, hops
        try:
            url = check_url(place, self.config.ports, allow_private=self.config.allow_private)
            if hops > self.config.max_redirects:
                raise FetchError(Reason.REDIRECTS, f"more than {self.config.max_redirects} redirects")
        except FetchError as fault:
            return self._settle(_row(task, fault, attempts=task.attempts))
        task.host = url.raw_host.decode("ascii")
        why = self._given_up.get(task.host)
        if why is not None:
            self.queues.hosts[task.host].num_failed += 1
            return self._settle(_row(task, why, attempts=task.attempts))
        return self.queues.put(task, not_before_s)

    def _after(self, task: Task, fault: FetchError) -> None:
        """Try again later, or settle; and judge the host by it."""
        host, now_s = task.host, self.schedule.clock()
        task.attempts += fault.status is Status.FAILED
        if fault.reason in _HOST_WIDE:
            return self._give_up(task, fault, fault)
        asked_s = fault.retry_after_s or 0.0
        if fault.passing and asked_s > self.config.max_retry_after_s:
            why = FetchError(Reason.HOST_GIVEN_UP, f"asks to be left alone for {asked_s:,.0f} s")
            return self._give_up(task, fault, why)
        wait_s = max(self._backoff_s(task.attempts), asked_s)
        if fault.http_status in _TOO_BUSY:
            self.queues.pause(host, now_s + wait_s)
        if fault.passing and task.attempts < self.config.max_attempts:
            # From the start: what a redirect led to may be good for once only.
            return self._queue(task, task.url, not_before_s=now_s + wait_s)
        state = self.queues.hosts[host]
        speaks = fault.http_status is not None and not fault.passing
        state.faults_in_a_row = 0 if speaks else state.faults_in_a_row + 1
        if state.faults_in_a_row >= self.config.max_host_faults:
            told = f"{state.faults_in_a_row} URLs in a row failed, the last: {fault.detail}"
            return self._give_up(task, fault, FetchError(Reason.HOST_GIVEN_UP, told))
        state.num_failed += 1
        return self._settle(_row(task, fault, attempts=task.attempts))

    def _give_up(self, task: Task, fault: FetchError, why: FetchError) -> None:
        """Settle a task with its fault, and all that wait for the same host with the reason why it is left alone."""
        host = task.host
        self._given_up.setdefault(host, why)
        self._settle(_row(task, fault, attempts=task.attempts))
        dropped = self.queues.drop(host)
        self.queues.hosts[host].num_failed += 1 + len(dropped)
        for other in dropped:
            self._settle(_row(other, why, attempts=other.attempts))

    def _backoff_s(self, attempts: int) -> float:
        """Doubled after each attempt; half of it random, so that those who failed together do not come together.

        Source: "equal jitter" of Brooker, Exponential Backoff and Jitter (2015).
        """
        whole_s = min(self.config.max_backoff_s, self.config.backoff_s * 2.0 ** (attempts - 1))
        return whole_s * (0.5 + 0.5 * self._random.random())

    def _spend(self, num_bytes: int) -> None:
        with self._count:
            self.num_bytes += num_bytes
            limit = self.config.max_total_bytes
            spent = limit is not None and self.num_bytes > limit
        if spent:
            self.schedule.stop(Ended.BYTES_SPENT)
        if self.schedule.stopped:
            raise _StoppedError

    def _settle(self, row: Row) -> None:
        self.manifest.append(row)
        with self._count:
            self.rows[row.url] = row
            self.num_new += 1
            if self.progress:
                self.progress(self.num_new, self.num_to_do, self.num_bytes)


def _row(task: Task, found: Stored | FetchError, *, attempts: int, http_status: int | None = None) -> Row:
    if isinstance(found, Stored):
        return Row(
            task.url,
            found.path,
            found.sha256,
            found.num_bytes,
            found.width,
            found.height,
            Status.OK,
            "",
            "",
            attempts,
            http_status,
        )
    detail = found.detail if task.hops == 0 else f"{found.detail} (redirected to {task.place[:200]})"
    nothing = (None, None, None, None, None)
    return Row(task.url, *nothing, found.status, found.reason, detail, attempts, found.http_status)
