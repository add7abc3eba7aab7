"""The order of work: fair to hosts, gentle with each, and nothing is lost."""

from __future__ import annotations

import heapq

from hypothesis import given
from hypothesis import strategies as st

from catalog.fetching.hosts import HostQueues, Schedule, Task

tasks = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 4)), max_size=40)


@given(tasks, st.integers(1, 3), st.integers(0, 3), st.integers(1, 6))
def test_every_task_starts_once_never_too_early_and_never_too_many_at_a_host(
    given_tasks: list[tuple[str, int, int]], concurrency: int, delay_s: int, num_workers: int
) -> None:
    """Played through by a clock of whole seconds: (host, not before, how long it takes)."""
    queues = HostQueues(concurrency, delay_s)
    for number, (host, not_before, _) in enumerate(given_tasks):
        queues.put(Task(str(number), host=host), not_before)
    now, running = 0.0, list[tuple[float, str]]()
    starts: dict[str, list[float]] = {host: [] for host in "abc"}
    started: list[int] = []
    while queues.num_waiting or running:
        found = queues.take(now) if len(running) < num_workers else None
        if isinstance(found, Task):
            host, not_before, takes = given_tasks[int(found.url)]
            assert now >= not_before
            assert sum(name == host for _, name in running) < concurrency
            assert not starts[host] or now >= starts[host][-1] + delay_s
            starts[host].append(now)
            started.append(int(found.url))
            heapq.heappush(running, (now + takes, host))
            continue
        ends = [running[0][0]] if running else []
        waits = [found] if isinstance(found, float | int) else []
        assert ends or waits
        now = max(now, min(ends + waits))
        while running and running[0][0] <= now:
            queues.release(heapq.heappop(running)[1])
    assert sorted(started) == list(range(len(given_tasks)))
    assert queues.take(now) is None


def test_a_task_that_may_start_sooner_overtakes_one_that_waits() -> None:
    queues = HostQueues(1, 0.0)
    queues.put(Task("late", host="a"), 10.0)
    queues.put(Task("soon", host="a"), 1.0)
    assert queues.take(0.0) == 1.0
    found = queues.take(1.0)
    assert isinstance(found, Task)
    assert found.url == "soon"


def test_a_paused_host_waits_and_the_others_do_not() -> None:
    queues = HostQueues(2, 0.0)
    for host in "ab":
        queues.put(Task(host, host=host))
    queues.pause("a", 5.0)
    found = queues.take(0.0)
    assert isinstance(found, Task)
    assert found.host == "b"
    assert queues.take(0.0) == 5.0
    assert isinstance(queues.take(5.0), Task)


def test_dropping_a_host_gives_its_tasks_back_in_order() -> None:
    queues = HostQueues(1, 0.0)
    for name, not_before in (("later", 3.0), ("first", 0.0), ("second", 0.0)):
        queues.put(Task(name, host="a"), not_before)
    queues.put(Task("other", host="b"))
    assert [task.url for task in queues.drop("a")] == ["first", "second", "later"]
    assert queues.num_waiting == 1
    found = queues.take(0.0)
    assert isinstance(found, Task)
    assert found.url == "other"


def test_a_stopped_schedule_hands_out_nothing_and_keeps_the_first_reason() -> None:
    queues = HostQueues(1, 0.0)
    queues.put(Task("a", host="a"))
    schedule = Schedule(queues)
    schedule.stop("interrupted")
    schedule.stop("done")
    assert schedule.take() is None
    assert schedule.stopped == "interrupted"
