"""Rows on disk: appended one by one, flushed to the disk, read back also where a kill cut the last one short."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from catalog import ModelError, StorageError
from validation.benchmark import MAIN_METRICS
from validation.statistics import Outcome

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
DEFAULT_RESULTS = "benchmarks/results/ablation"

_KEPT = frozenset((*MAIN_METRICS, "image_to_product/recall@10", "category_leaf/accuracy"))
_ATTRIBUTE = re.compile(r"attribute\..+/accuracy")


class Row(BaseModel):
    """What one run leaves behind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    kind: Literal["arm", "baseline", "lr"]
    data: str
    arm: str
    title: str
    seed: int
    fold: int | None
    """Held out; None for the recipe's own split."""
    side: Literal["test", "val"]
    """Whose products were judged."""
    recipe: str
    recipe_digest: str
    """Of recipe and data, the same for all arms and seeds: only such rows are compared."""
    config_digest: str
    """Of this very run's configuration and data."""
    changes: dict[str, tuple[Any, Any]]
    """Key -> value in the recipe, value here."""
    lr_factor: float
    lr_tried: int
    """Learning rates that were tried before this one was taken."""
    commit: str
    machine: dict[str, Any]
    finished_at: str
    data_digest: str
    eval_set_digest: str
    harness_digest: str
    steps: int
    """Optimiser steps; 0 where nothing is trained."""
    trainable: int
    """Parameters that learn and that the encoder uses."""
    idle: int
    """Parameters that would learn, but that no embedding depends on; not counted above."""
    train_s: float
    """Seconds of training, without decoding and set-up."""
    total_s: float
    """Seconds from start to score, of the process that ended it."""
    main_score: float | None
    """Mean of the main metrics, 0 to 1; None where one of them cannot be asked of this encoder."""
    scores: dict[str, tuple[float, int]]
    """`task/metric` -> value, 0 to 1, and items judged."""
    final: dict[str, float]
    """Loss parts and measures of the last step."""
    outcomes: str
    """File with every item's result, relative to the results folder; empty where none is kept."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.kind, self.data, self.arm, self.seed)


class Rows:
    """One file of rows.

    Args:
        path: `.jsonl`; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Row]:
        """All rows, in the order of their finishing. A last line that a kill cut short is left out, and told.

        Raises:
            ModelError: Any other line that is not a row.
        """
        whole, cut = self._lines()
        if cut:
            _log.warning("%s: the last line was cut short by a kill and is left out: %r", self.path, cut[:60])
        return [self._row(number, line) for number, line in enumerate(whole, 1) if line.strip()]

    def append(self, row: Row) -> None:
        """Add a row; when this returns it is on the disk.

        Raises:
            StorageError: No space, or a read-only folder.
        """
        _, cut = self._lines()
        lacks_newline = self._lacks_newline()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                if cut:
                    stream.truncate(self.path.stat().st_size - len(cut))
                elif lacks_newline:
                    stream.write(b"\n")
                stream.write((_compact(row.model_dump(mode="json")) + "\n").encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StorageError("a row cannot be written", where=str(self.path), got=str(error)) from None

    def _lines(self) -> tuple[list[bytes], bytes]:
        """Whole lines, and the beginning of one that was not finished."""
        if not self.path.exists():
            return [], b""
        *whole, last = self.path.read_bytes().split(b"\n")
        if not last:
            return whole, b""
        try:
            json.loads(last)
        except ValueError:
            return whole, last
        return [*whole, last], b""

    def _lacks_newline(self) -> bool:
        data = self.path.read_bytes() if self.path.exists() else b""
        return bool(data) and not data.endswith(b"\n")

    def _row(self, number: int, line: bytes) -> Row:
        try:
            return Row.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ModelError(
                "a line of the results is not a row",
                where=f"{self.path}:{number}",
                got=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
                fix="take the line out; its run is then done again",
            ) from None


def write_json(path: Path, data: Any) -> None:
    """Write compact JSON; the file appears whole or not at all.

    Raises:
        StorageError: No space, or a read-only folder.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(_compact(data) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise StorageError("a file cannot be written", where=str(path), got=str(error)) from None


def kept(metric: str) -> bool:
    """Whether every item's result is kept for this metric: those that are compared in pairs."""
    return metric in _KEPT or _ATTRIBUTE.fullmatch(metric) is not None


def pack(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Hits and misses as one table of items and one string a metric: `1`, `0`, or `.` where the item was not asked.

    Raises:
        ModelError: A metric whose values are other than 0 and 1.
    """
    items: dict[tuple[str, str], int] = {}
    chosen = {metric: outcome for metric, outcome in outcomes.items() if kept(metric)}
    for outcome in chosen.values():
        for key in zip(outcome.ids, outcome.groups, strict=True):
            items.setdefault(key, len(items))
    values = {}
    for metric, outcome in chosen.items():
        if not np.isin(outcome.values, (0.0, 1.0)).all():
            raise ModelError("only hits and misses are kept by item", where=metric)
        signs = ["."] * len(items)
        for key, value in zip(zip(outcome.ids, outcome.groups, strict=True), outcome.values, strict=True):
            signs[items[key]] = "1" if value else "0"
        values[metric] = "".join(signs)
    return {"schema_version": SCHEMA_VERSION, "items": [list(key) for key in items], "values": values}


def unpack(data: Mapping[str, Any]) -> dict[str, Outcome]:
    """Read what `pack` gave; items in the order of its table."""
    items: Sequence[Sequence[str]] = data["items"]
    found = {}
    for metric, signs in data["values"].items():
        asked = [index for index, sign in enumerate(signs) if sign != "."]
        found[metric] = Outcome(
            tuple(items[index][0] for index in asked),
            tuple(items[index][1] for index in asked),
            np.array([float(signs[index]) for index in asked], dtype=np.float64),
        )
    return found


def read_outcomes(folder: Path, row: Row) -> dict[str, Outcome]:
    """Every item's result of a row.

    Raises:
        ModelError: The file is gone or damaged.
    """
    path = folder / row.outcomes
    try:
        return unpack(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(
            f"results by item of {row.arm}, seed {row.seed}, cannot be read",
            where=str(path),
            got=str(error)[:200],
            fix="bring the file back, or take the row out and run it again",
        ) from None


def _compact(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
