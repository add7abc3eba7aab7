"""Who is asked next: a queue a host, so that a slow or strict host holds up nobody else."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Task:
    """One URL on its way to a picture."""

    url: str
    """As the catalogue has it."""
    place: str = ""
    """Where it is asked for now: `url`, or where a redirect led."""
    host: str = ""
    attempts: int = 0
    """Requests made for it, those that led on to another place not counted."""
    hops: int = 0


@dataclass
class HostState:
    """What is known of one host."""

    waiting: list[tuple[float, int, Task]] = field(default_factory=list)
    """A heap by the time before which a task may not start."""
    in_flight: int = 0
    next_start_s: float = 0.0
    faults_in_a_row: int = 0
    num_requests: int = 0
    num_failed: int = 0
    busy_s: float = 0.0


class HostQueues:
    """The order of work, without threads or clocks of its own: every method is told the time.

    Args:
        concurrency: Tasks of one host at the same time.
        delay_s: Least time between two starts on one host.
    """

    def __init__(self, concurrency: int, delay_s: float) -> None:
        self.concurrency, self.delay_s = concurrency, delay_s
        self.hosts: dict[str, HostState] = {}
        self.num_waiting = 0
        self.num_in_flight = 0
        self._order = itertools.count()
        self._ready: list[tuple[float, int, str]] = []
        self._listed: dict[str, float] = {}

    def put(self, task: Task, not_before_s: float = 0.0) -> None:
        """Queue a task at its host."""
        state = self.hosts.setdefault(task.host, HostState())
        heapq.heappush(state.waiting, (not_before_s, next(self._order), task))
        self.num_waiting += 1
        self._list(task.host, state)

    def take(self, now_s: float) -> Task | float | None:
        """A task that may start now; or when the next one may; or None while only finishing tasks can bring one."""
        while self._ready:
            ready_s, _, host = self._ready[0]
            if ready_s > now_s:
                return ready_s
            heapq.heappop(self._ready)
            if self._listed.get(host) != ready_s:
                continue
            del self._listed[host]
            state = self.hosts[host]
            if not state.waiting or state.in_flight >= self.concurrency:
                continue
            if self._ready_s(state) > now_s:
                self._list(host, state)
                continue
            _, _, task = heapq.heappop(state.waiting)
            state.in_flight += 1
            state.num_requests += 1
            state.next_start_s = max(state.next_start_s, now_s + self.delay_s)
            self.num_waiting -= 1
            self.num_in_flight += 1
            self._list(host, state)
            return task
        return None

    def release(self, host: str, seconds: float = 0.0) -> None:
        """A task of the host has ended, or goes on elsewhere; it kept a worker busy for so long."""
        state = self.hosts[host]
        state.in_flight -= 1
        state.busy_s += seconds
        self.num_in_flight -= 1
        self._list(host, state)

    def pause(self, host: str, until_s: float) -> None:
        """Ask nothing of the host before `until_s`."""
        state = self.hosts[host]
        state.next_start_s = max(state.next_start_s, until_s)

    def drop(self, host: str) -> list[Task]:
        """Take every waiting task of a host out; returns them in order."""
        state = self.hosts[host]
        dropped = [task for _, _, task in sorted(state.waiting, key=lambda row: row[:2])]
        state.waiting.clear()
        self.num_waiting -= len(dropped)
        return dropped

    def _ready_s(self, state: HostState) -> float:
        return max(state.next_start_s, state.waiting[0][0])

    def _list(self, host: str, state: HostState) -> None:
        if not state.waiting or state.in_flight >= self.concurrency:
            return
        ready_s = self._ready_s(state)
        # An earlier entry takes the place of a later one, which `take` then drops.
        if ready_s < self._listed.get(host, float("inf")):
            self._listed[host] = ready_s
            heapq.heappush(self._ready, (ready_s, next(self._order), host))


class Schedule:
    """`HostQueues` for many workers at once.

    Args:
        queues: Whose tasks are handed out; touch them only inside `with schedule.lock`.
        clock: Monotonic, seconds.
    """

    def __init__(self, queues: HostQueues, clock: Callable[[], float] = time.monotonic) -> None:
        self.queues, self.clock = queues, clock
        self.lock = threading.Condition()
        self.stopped: str = ""
        """Why no further task is handed out; empty while work goes on."""
        self.filling = True
        """Whether tasks are still to come from outside, so that an empty queue is not the end."""

    def take(self) -> Task | None:
        """The next task, waited for; None when all is done or stopped."""
        with self.lock:
            while not self.stopped:
                found = self.queues.take(self.clock())
                if isinstance(found, Task):
                    # One wakes the next: waking all for each task would be most of the work.
                    self.lock.notify()
                    return found
                idle = not self.queues.num_waiting and not self.queues.num_in_flight
                if idle and not self.filling:
                    return None
                self.lock.wait(None if found is None else max(0.0, found - self.clock()))
            return None

    def changed(self) -> None:
        """Wake one who waits; call it inside the lock after any change."""
        self.lock.notify()

    def filled(self) -> None:
        """No task comes from outside any more."""
        with self.lock:
            self.filling = False
            self.lock.notify_all()

    def stop(self, why: str) -> None:
        """Hand out nothing more; tasks in flight end by themselves."""
        with self.lock:
            self.stopped = self.stopped or why
            self.lock.notify_all()
