"""Which way is better."""

from __future__ import annotations

_LOWER_IS_BETTER = frozenset({"mean_rank"})


def lower_is_better(key: str) -> bool:
    """Whether smaller values of `task/metric`, or of a slice of it, are better; all others are shares from 0 to 1."""
    return key.partition("[")[0].rpartition("/")[2] in _LOWER_IS_BETTER
