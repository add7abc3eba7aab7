"""Intervals of many means at once: one resample of groups serves every metric and every slice of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from validation.benchmark.metrics import lower_is_better, macro_scores
from validation.benchmark.record import Score
from validation.config import BenchmarkConfig
from validation.statistics.intervals import resamples, wilson


class Columns:
    """Means over the items of one task, whole and by slice, with intervals clustered by group.

    Args:
        groups: Cluster of each of n items.
        cfg: Resamples, coverage and seed: equal ones give equal resamples, so that encoders are resampled in pairs.
    """

    def __init__(self, groups: Sequence[str], cfg: BenchmarkConfig) -> None:
        names, self._rows = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
        self._cfg, self._num_groups = cfg, len(names)
        # A byte each: no group is drawn more often than there are groups, nor, where they are many, 255 times.
        self._blocks = [block.astype(np.uint8) for block in resamples(self._num_groups, cfg.num_bootstrap, cfg.seed)]

    def scores(self, values: Mapping[str, np.ndarray], pool: int, mask: np.ndarray | None = None) -> dict[str, Score]:
        """A score for each metric.

        Args:
            values: Metric -> (n,) one number an item.
            pool: What the right answer had to be picked from.
            mask: (n,) bool: the items of a slice; all of them if None.
        """
        chosen = np.ones(len(self._rows), dtype=bool) if mask is None else mask
        rows, table = self._rows[chosen], np.stack([own[chosen] for own in values.values()], axis=1)
        sums = np.zeros((self._num_groups, table.shape[1]))
        np.add.at(sums, rows, table)
        counts = np.bincount(rows, minlength=self._num_groups).astype(np.float64)
        present, num_groups = counts > 0, int(np.count_nonzero(counts))
        totals = self._resampled(np.column_stack([sums, counts])[present], present)
        drawn = totals[totals[:, -1] > 0]
        drawn = drawn[:, :-1] / drawn[:, -1:]
        tail = (1.0 - self._cfg.confidence) / 2.0
        ends = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
        found = {}
        for column, metric in enumerate(values):
            value = float(table[:, column].mean())
            low, high = (float(end) for end in ends[:, column])
            if lower_is_better(metric):
                if value == 1.0:  # every right candidate first: some unseen query's may be second
                    low, high = 1.0, 1.0 + wilson(0.0, num_groups, self._cfg.confidence)[1]
            elif value in (0.0, 1.0):
                low, high = wilson(value, num_groups, self._cfg.confidence)
            found[metric] = Score(value, low, high, int(chosen.sum()), pool, num_groups)
        return found

    def macro_scores(self, true: np.ndarray, given: np.ndarray) -> dict[str, tuple[float, tuple[float, float]]]:
        """Macro scores over labels, with intervals: they are no means over items, so each resample counts anew.

        Args:
            true: (n, C) bool: labels each item has; every label at least one item's.
            given: (n, C) bool: labels it was given.
        """
        tail = (1.0 - self._cfg.confidence) / 2.0
        everywhere = np.ones(self._num_groups, dtype=bool)
        hits, has, got = (self._resampled(self._by_group(part), everywhere) for part in (true & given, true, given))
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = {
                "precision_macro": np.where(got > 0, hits / got, 0.0),
                "recall_macro": hits / has,
                "f1_macro": 2.0 * hits / (has + got),
            }
        found = {}
        for metric, value in macro_scores(true, given).items():
            # A label whose items all fell out of a resample is not asked in it.
            means = np.nanmean(np.where(has > 0, parts[metric], np.nan), axis=1)
            low, high = (float(end) for end in np.nanquantile(means, [tail, 1.0 - tail]))
            if value in (0.0, 1.0):
                low, high = wilson(value, self._num_groups, self._cfg.confidence)
            found[metric] = (value, (low, high))
        return found

    def _resampled(self, totals: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(draws, C) sums of the (groups, C) `totals` of the groups that are `present`."""
        return np.concatenate([block[:, present].astype(np.float64) @ totals for block in self._blocks])

    def _by_group(self, part: np.ndarray) -> np.ndarray:
        total = np.zeros((self._num_groups, part.shape[1]))
        np.add.at(total, self._rows, part.astype(np.float64))
        return total
