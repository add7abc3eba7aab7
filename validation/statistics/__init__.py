"""How far to trust a number, and whether two encoders differ on the same items."""

from validation.statistics.intervals import cluster_interval, difference_interval, macro_interval
from validation.statistics.outcomes import (
    Difference,
    Outcome,
    outcomes_from_dict,
    outcomes_to_dict,
    paired_difference,
    pooled,
)
from validation.statistics.paired import PairedTest, holm, paired_test
from validation.statistics.power import Spread, power_of, smallest_difference, smallest_drop
from validation.statistics.slices import SliceReport, SliceScore, WorstSlice, score_slices

__all__ = [
    "Difference",
    "Outcome",
    "PairedTest",
    "SliceReport",
    "SliceScore",
    "Spread",
    "WorstSlice",
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
    "score_slices",
    "smallest_difference",
    "smallest_drop",
]
