"""What ingestion changed, ignored or refused, gathered while rows stream by."""

from __future__ import annotations

from typing import Literal

from catalog.catalog import BadRow
from catalog.errors import CatalogError

OnError = Literal["stop", "quarantine"]

MAX_SHOWN = 10
"""Bad rows told in one error; the rest is counted."""


class RowError(ValueError):
    """Why one row cannot be used; the reader adds where it stands."""


class IngestNotes:
    """Changes made to rows, each kind told once with its count and the first row it happened in."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str | int]] = {}
        self._unknown: dict[str, dict[str, str]] = {}
        self._told: list[str] = []

    def tell(self, sentence: str) -> None:
        """Say something about the source as a whole."""
        self._told.append(sentence)

    def add(self, what: str, where: str) -> None:
        """Count `what` for the row at `where`, once a row."""
        entry = self._rows.setdefault(what, [where, 0, ""])
        if entry[2] != where:
            entry[1], entry[2] = int(entry[1]) + 1, where

    def add_unknown(self, file: str, column: str, near: str = "") -> None:
        """Remember a column that the schema does not know, and the known one it may be meant for."""
        self._unknown.setdefault(file, {})[column] = near

    def lines(self) -> tuple[str, ...]:
        """One sentence for each kind of change."""
        told = list(self._told)
        told += [f"{what} in {count} row(s), first {where}" for what, (where, count, _) in self._rows.items()]
        for file, columns in self._unknown.items():
            names = [f"{name} (did you mean {near}?)" if near else name for name, near in columns.items()]
            told.append(f"unknown columns of {file} kept in extra: {', '.join(names)}")
        return tuple(told)


class FaultLog:
    """Bad rows: all of them when they are set aside, the first few and a count when they stop the run."""

    def __init__(self, on_error: OnError) -> None:
        self.on_error = on_error
        self.rows: list[BadRow] = []
        self.num_faults = 0

    def add(self, where: str, row_id: str, reason: str) -> None:
        """Record that the row at `where` cannot be used."""
        self.num_faults += 1
        if self.on_error == "quarantine" or len(self.rows) < MAX_SHOWN:
            self.rows.append(BadRow(where, row_id, reason))

    def stop_if_any(self, folder: str) -> None:
        """End the run when it shall stop at bad rows.

        Raises:
            CatalogError: There are bad rows and `on_error` is stop; names the first ten.
        """
        if self.on_error == "quarantine" or not self.num_faults:
            return
        raise CatalogError(
            f"{self.num_faults} row(s) of the catalogue cannot be used",
            where=folder,
            got=self.told(),
            fix="mend the rows, or set them aside with `checks.on_error: quarantine`",
        )

    def told(self) -> str:
        """The first bad rows for a person to read, one a line."""
        shown = self.rows[:MAX_SHOWN]
        lines = [f"{row.where}{f' ({row.product_id})' if row.product_id else ''}: {row.reason}" for row in shown]
        if self.num_faults > len(shown):
            lines.append(f"and {self.num_faults - len(shown)} more")
        return "\n           ".join(lines)
