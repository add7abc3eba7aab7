"""Learning rate, and where an update ends."""

from __future__ import annotations

import math


def lr_factor(done_frac: float, warmup_frac: float) -> float:
    """Share of the peak learning rate: a straight rise, then a cosine down to zero.

    Args:
        done_frac: Share of the training that is done, 0 to 1.
        warmup_frac: Share that the rise takes.
    """
    if done_frac < warmup_frac:
        return done_frac / warmup_frac
    rest = (done_frac - warmup_frac) / max(1.0 - warmup_frac, 1e-9)
    return 0.5 * (1.0 + math.cos(math.pi * min(rest, 1.0)))


def ends_update(batch_idx: int, accumulate_batches: int) -> bool:
    """Whether the optimiser moves after this batch.

    Args:
        batch_idx: Counted from 0 at the start of this run; runs start with a whole update.
        accumulate_batches: Batches of an update.
    """
    return (batch_idx + 1) % accumulate_batches == 0
