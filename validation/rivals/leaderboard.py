"""Encoders beside each other on one evaluation set: what each scored, weighs and costs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from validation.benchmark.record import BenchmarkRecord
from validation.benchmark.table import MAIN_METRICS, main_score
from validation.errors import BenchmarkError
from validation.statistics.outcomes import Outcome, outcomes_from_dict, outcomes_to_dict

LABELS_ONLY = ("photo_label/accuracy",)
"""What an evaluation set of labelled photographs, without products, is ranked by."""
ENTRY_VERSION = 2


@dataclass(frozen=True)
class Entry:
    """One encoder's line."""

    model: str
    """As the user named it."""
    record: BenchmarkRecord
    settings: str
    """JSON of the benchmark's settings: intervals of two settings are not compared."""
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)

    def answers(self, encoder_digest: str, eval_set_digest: str, harness_digest: str, settings: str) -> bool:
        """Whether it was made by this very encoder, asked the same by the same code."""
        record = self.record
        return (encoder_digest, eval_set_digest, harness_digest, settings) == (
            record.encoder_digest,
            record.eval_set_digest,
            record.harness_digest,
            self.settings,
        )

    def to_json(self) -> str:
        """Everything, so that a later board can take the line over and compare item by item."""
        data = {
            "version": ENTRY_VERSION,
            "model": self.model,
            "settings": self.settings,
            "record": self.record.to_dict(),
            "outcomes": outcomes_to_dict(self.outcomes),
        }
        return json.dumps(data, ensure_ascii=False, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """Read what `to_json` gave.

        Raises:
            BenchmarkError: Another version, or damaged.
        """
        try:
            data: Any = json.loads(text)
            if data["version"] != ENTRY_VERSION:
                raise BenchmarkError("leaderboard entry of another version", got=str(data["version"]))
            return cls(
                model=data["model"],
                record=BenchmarkRecord.from_dict(data["record"]),
                settings=data["settings"],
                outcomes=outcomes_from_dict(data["outcomes"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BenchmarkError(
                "leaderboard entry is damaged", got=str(error), fix="delete it; it is made anew"
            ) from None


def rank_metrics(entries: Sequence[Entry]) -> tuple[str, ...]:
    """What the board ranks by: the main metrics that any encoder here has, or the label accuracy of photographs."""
    shown = tuple(metric for metric in MAIN_METRICS if any(metric in entry.record.scores for entry in entries))
    return shown or tuple(metric for metric in LABELS_ONLY if any(metric in e.record.scores for e in entries))


def rank_value(entry: Entry, metrics: Sequence[str]) -> float:
    """The main score; over labelled photographs alone, their accuracy. NaN where a part of it cannot be answered."""
    if any(metric in MAIN_METRICS for metric in metrics):
        return main_score(entry.record)
    values = [entry.record.scores[metric].value for metric in metrics if metric in entry.record.scores]
    return float(np.mean(values)) if metrics and len(values) == len(metrics) else math.nan


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Best first. Encoders that cannot answer everything follow, by the mean of what they can; then by name.

    Raises:
        BenchmarkError: Entries of different evaluation sets or harnesses: such numbers do not share a table.
    """
    if len({(entry.record.eval_set_digest, entry.record.harness_digest) for entry in entries}) > 1:
        raise BenchmarkError(
            "these encoders were not asked the same by the same code",
            got=", ".join(
                f"{e.model}: {e.record.eval_set_digest[:12]}/{e.record.harness_digest[:12]}" for e in entries
            ),
            fix="score all of them on one evaluation set",
        )
    metrics = rank_metrics(entries)

    def order(entry: Entry) -> tuple[bool, float, str]:
        whole = rank_value(entry, metrics)
        if not math.isnan(whole):
            return False, -whole, entry.model
        values = [entry.record.scores[metric].value for metric in metrics if metric in entry.record.scores]
        return True, -float(np.mean(values)) if values else 0.0, entry.model

    return sorted(entries, key=order)


def board_to_dict(entries: Sequence[Entry]) -> dict[str, Any]:
    """The board as plain data, best first; None where an encoder has no such number."""
    metrics = rank_metrics(entries)
    rows = ranked(entries)
    first = rows[0].record
    return {
        "eval_set_digest": first.eval_set_digest,
        "harness_digest": first.harness_digest,
        "side": first.side,
        "num_gallery": first.num_gallery,
        "confidence": first.confidence,
        "ranked_by": list(metrics),
        "encoders": [
            {
                "model": entry.model,
                "encoder": entry.record.encoder,
                "encoder_digest": entry.record.encoder_digest,
                "main": None if math.isnan(value := rank_value(entry, metrics)) else value,
                "dims": entry.record.dims or None,
                "num_parameters": entry.record.num_parameters,
                "model_bytes": entry.record.model_bytes,
                "peak_memory_mib": entry.record.peak_memory_mib,
                "timings": entry.record.timings,
                "scores": {key: vars(score) for key, score in entry.record.scores.items()},
                "not_applicable": entry.record.not_applicable,
            }
            for entry in rows
        ],
    }
