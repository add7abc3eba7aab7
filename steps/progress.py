"""Progress of long work as a few log lines with the time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

INTERVAL_S = 5.0


def log_progress(logger: logging.Logger, what: str) -> Callable[[int, int], None]:
    """A callback for `(done, total)` that logs at most every five seconds."""
    start = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < INTERVAL_S or not done:
            return
        last = now
        left_s = (now - start) * (total - done) / done
        logger.info("%s: %d of %d, about %.0f s left", what, done, total, left_s)

    return report
