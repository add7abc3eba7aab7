"""The order of work: fair to hosts, gentle with each, and nothing is lost."""

from __future__ import annotations

import heapq
from concurrent.futures import ThreadPoolExecutor

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


def test_an_empty_schedule_that_is_still_filled_is_waited_for_and_ends_when_it_is_full() -> None:
    queues = HostQueues(1, 0.0)
    schedule = Schedule(queues)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(schedule.take)
        with schedule.lock:
            queues.put(Task("a", host="a"))
            schedule.changed()
        found = first.result(timeout=30)
        assert found is not None
        second = pool.submit(schedule.take)
        with schedule.lock:
            queues.release("a")
            schedule.changed()
        schedule.filled()
        assert second.result(timeout=30) is None


def test_many_workers_take_every_task_once_whoever_wakes_whom() -> None:
    queues = HostQueues(2, 0.0005)
    schedule = Schedule(queues)

    def work() -> list[str]:
        taken = []
        while (task := schedule.take()) is not None:
            taken.append(task.url)
            with schedule.lock:
                queues.release(task.host)
                if task.hops == 0 and int(task.url) % 3 == 0:
                    again = Task(task.url, host="z", hops=1)
                    queues.put(again, schedule.clock() + 0.002)
                schedule.changed()
        return taken

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work) for _ in range(8)]
        for number in range(300):
            with schedule.lock:
                queues.put(Task(str(number), host="abcdef"[number % 6]))
                schedule.changed()
        schedule.filled()
        taken = [url for future in futures for url in future.result(timeout=60)]
    assert sorted(taken, key=int) == sorted([*map(str, range(300)), *map(str, range(0, 300, 3))], key=int)
