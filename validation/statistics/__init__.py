"""How far to trust a number, and whether two encoders differ on the same items."""

from validation.statistics.intervals import cluster_interval, difference_interval, macro_interval
from validation.statistics.outcomes import Difference, Outcome, paired_difference, pooled

__all__ = [
    "Difference",
    "Outcome",
    "cluster_interval",
    "difference_interval",
    "macro_interval",
    "paired_difference",
    "pooled",
]
