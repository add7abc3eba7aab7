"""How far to trust a number, and whether two encoders differ on the same items."""

from validation.statistics.intervals import cluster_interval, difference_interval, macro_interval
from validation.statistics.outcomes import (
    Difference,
    Outcome,
    outcomes_from_dict,
    outcomes_to_dict,
    paired_difference,
    pooled,
    without_slices,
)
from validation.statistics.paired import PairedTest, holm, paired_test
from validation.statistics.power import Spread, power_of, smallest_difference, smallest_drop

__all__ = [
    "Difference",
    "Outcome",
    "PairedTest",
    "Spread",
    "cluster_interval",
    "difference_interval",
    "holm",
    "macro_interval",
    "outcomes_from_dict",
    "outcomes_to_dict",
    "paired_difference",
    "paired_test",
    "pooled",
    "power_of",
    "smallest_difference",
    "smallest_drop",
    "without_slices",
]
