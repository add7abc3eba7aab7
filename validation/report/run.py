"""All that a run's page, its summary and its figures are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from catalog.rows import Box
from validation.benchmark import SHOWN_METRICS, BenchmarkRecord, GalleryRow, main_metrics
from validation.gate import Decision
from validation.statistics import Outcome


@dataclass(frozen=True)
class RunReport:
    """Everything the page shows; each part may be left out."""

    title: str
    records: Sequence[BenchmarkRecord]
    """The candidate first, then rivals and the champion, all of one evaluation set."""
    decision: Decision | None = None
    champion: str | None = None
    """Encoder name of the record that is the champion's."""
    outcomes: Mapping[str, Outcome] | None = None
    """`task/metric` -> what became of every item under the candidate."""
    champion_outcomes: Mapping[str, Outcome] | None = None
    """The same of the champion."""
    gallery: Sequence[GalleryRow] = ()
    """A fair sample, and those marked as the worst."""
    cores: Mapping[str, Box] = field(default_factory=dict)
    """Query id -> box of the object asked for, pixels of the upright photo."""
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Name -> (step, value)."""
    phases_s: Mapping[str, float] = field(default_factory=dict)
    """Phase -> seconds, in the order they ran."""
    lineage: Mapping[str, str] = field(default_factory=dict)
    """Commit, digests, versions."""
    config_yaml: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    """Text -> address; only http, https, file and relative ones become links."""

    @property
    def candidate(self) -> BenchmarkRecord | None:
        """The record that everything is about."""
        return self.records[0] if self.records else None

    @property
    def champion_record(self) -> BenchmarkRecord | None:
        """The champion's, where there is one beside the candidate."""
        if self.champion is None:
            return None
        return next((own for own in self.records[1:] if own.encoder == self.champion), None)

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        """The main metrics; where the set can ask none of them, those tables show that the candidate has."""
        if self.candidate is None:
            return ()
        return main_metrics(self.candidate) or tuple(key for key in SHOWN_METRICS if key in self.candidate.scores)

    @property
    def has_main_score(self) -> bool:
        """Whether the set can ask anything that the main score is made of."""
        return self.candidate is not None and bool(main_metrics(self.candidate))

    def check_one_set(self) -> None:
        """Raise where numbers do not belong side by side.

        Raises:
            ValueError: Records of different evaluation sets.
        """
        if len({own.eval_set_digest for own in self.records}) > 1:
            raise ValueError("these records come from different evaluation sets and cannot share a page")
