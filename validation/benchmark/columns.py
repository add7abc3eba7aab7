"""Intervals of many means at once: one resample of groups serves every metric and every slice of a task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from validation.benchmark.metrics import lower_is_better, macro_scores
from validation.benchmark.record import Score
from validation.config import BenchmarkConfig
from validation.statistics.intervals import resamples, unless_flat

_MASKS_AT_ONCE = 16


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

    def scores(self, values: Mapping[str, np.ndarray], pool: int) -> dict[str, Score]:
        """A score for each metric.

        Args:
            values: Metric -> (n,) one number an item.
            pool: What the right answer had to be picked from.
        """
        return self.slices(values, pool, {"": np.ones(len(self._rows), dtype=bool)})[""]

    def slices(
        self, values: Mapping[str, np.ndarray], pool: int, masks: Mapping[str, np.ndarray]
    ) -> dict[str, dict[str, Score]]:
        """A score for each slice and metric; groups are drawn among those of the whole task.

        Args:
            values: Metric -> (n,) one number an item.
            pool: What the right answer had to be picked from.
            masks: Slice -> (n,) bool: its items, at least one.
        """
        found: dict[str, dict[str, Score]] = {}
        if not values:
            return {name: {} for name in masks}
        table, names = np.stack([*values.values()], axis=1), list(masks)
        for start in range(0, len(names), _MASKS_AT_ONCE):
            part = names[start : start + _MASKS_AT_ONCE]
            chosen = [np.flatnonzero(masks[name]) for name in part]
            totals = np.concatenate([self._by_group(table[rows], rows) for rows in chosen], axis=1)
            drawn = np.concatenate([block.astype(np.float64) @ totals for block in self._blocks])
            width = table.shape[1] + 1
            for at, (name, rows) in enumerate(zip(part, chosen, strict=True)):
                columns = slice(at * width, (at + 1) * width)
                found[name] = self._found(list(values), table[rows], totals[:, columns], drawn[:, columns], pool)
        return found

    def macro_scores(
        self, true: sparse.csr_matrix, given: sparse.csr_matrix
    ) -> dict[str, tuple[float, tuple[float, float]]]:
        """Macro scores over labels, with intervals: they are no means over items, so each resample counts anew.

        Args:
            true: (n, C) of 0 and 1: labels each item has; every label at least one item's.
            given: (n, C) of 0 and 1: labels it was given.
        """
        num_items = len(self._rows)
        gather = sparse.csr_matrix(
            (np.ones(num_items), (self._rows, np.arange(num_items))), shape=(self._num_groups, num_items)
        )
        parts = [(gather @ part).T.tocsr() for part in (true.multiply(given), true, given)]
        drawn = np.concatenate(
            [_macro_means(*(part @ block.T.astype(float) for part in parts)) for block in self._blocks]
        )
        ends = np.quantile(drawn, self._tails(), axis=0)
        return {
            metric: (value, unless_flat(_pair(ends[:, column]), value, self._num_groups, self._cfg.confidence))
            for column, (metric, value) in enumerate(macro_scores(true, given).items())
        }

    def _found(
        self, metrics: Sequence[str], table: np.ndarray, totals: np.ndarray, drawn: np.ndarray, pool: int
    ) -> dict[str, Score]:
        # Of a slice with few groups a resample may hold none.
        drawn = drawn[drawn[:, -1] > 0]
        ends = np.quantile(drawn[:, :-1] / drawn[:, -1:], self._tails(), axis=0)
        num_groups = int(np.count_nonzero(totals[:, -1]))
        found = {}
        for column, metric in enumerate(metrics):
            value = float(table[:, column].mean())
            within, unit = ((1.0, math.inf), value) if lower_is_better(metric) else ((0.0, 1.0), 1.0)
            low, high = unless_flat(
                _pair(ends[:, column]), value, num_groups, self._cfg.confidence, within=within, unit=unit
            )
            found[metric] = Score(value, low, high, len(table), pool, num_groups)
        return found

    def _tails(self) -> list[float]:
        tail = (1.0 - self._cfg.confidence) / 2.0
        return [tail, 1.0 - tail]

    def _by_group(self, table: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(groups, M + 1) sums of the (len(rows), M) `table` of the items `rows`, and how many they are."""
        groups = self._rows[rows]
        parts = (*table.T, np.ones(len(rows)))
        return np.stack([np.bincount(groups, part, minlength=self._num_groups) for part in parts], axis=1)


def _macro_means(hits: np.ndarray, has: np.ndarray, got: np.ndarray) -> np.ndarray:
    """(draws, 3) macro precision, recall and F1 of (C, draws) counts of labels that are right, there and given."""
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = (np.where(got > 0, hits / got, 0.0), hits / has, 2.0 * hits / (has + got))
    # A label whose items all fell out of a resample is not asked in it.
    return np.stack([np.nanmean(np.where(has > 0, part, np.nan), axis=0) for part in parts], axis=1)


def _pair(ends: np.ndarray) -> tuple[float, float]:
    return float(ends[0]), float(ends[1])
