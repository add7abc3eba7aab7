"""Work on a stream in threads, in order, with a bounded number of results waiting."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

_AHEAD = 4
"""Values asked for ahead of the one awaited, per worker."""


def map_in_order(function: Callable[[Given], Made], values: Iterable[Given], num_workers: int = 0) -> Iterator[Made]:
    """Yield `function(value)` for each value, in the order given, for any number of workers.

    Reading files waits and decoding pictures frees the interpreter, so threads serve both; results are not hoarded,
    so memory does not grow with the number of values.

    Args:
        function: Called once a value; its exception is raised where its result would have come.
        values: Consumed a few ahead of what has been yielded.
        num_workers: Threads; 0 is one a core and one more.
    """
    num_workers = num_workers or min(32, (os.cpu_count() or 1) + 1)
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            for value in values:
                waiting.append(pool.submit(function, value))
                if len(waiting) >= num_workers * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
