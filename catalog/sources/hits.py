"""Rows that each name one query and a product it led to, put together into queries."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from catalog.images import sha256_hex
from catalog.rows import QueryKind
from catalog.sources.attribute_text import even_spaces
from catalog.sources.column_map import ColumnMap
from catalog.sources.gathering import Placed
from catalog.sources.notes import IngestNotes, RowError
from catalog.sources.pictures import PictureFinder
from catalog.sources.tables import RawRow
from catalog.sources.values import CellReader

_UNRANKED = math.inf
_OF_ONE_ID = ("text", "image", "weight", "label")
"""What rows that share a query's id must say alike."""


@dataclass
class _Asked:
    where: str
    fields: dict[str, Any]
    ranks: dict[Any, float] = field(default_factory=dict)
    """Product to its rank; the best where it stands twice."""


class HitGatherer:
    """Gathers queries while rows stream by; they come out when all rows are read.

    Rows are one query where they say the same of it. A click is no purchase and another time is another event, so rows
    of one text that differ in these are queries of their own; of rows that share an id, those that differ in signal,
    whose name then ends in it, and the latest time counts, so that no answer is dated before it was known.

    A product's rank says what the source's own search believed, not what a shopper did, and one weight belongs to a
    whole query: so ranks go to `extra.positions` and into the order of the products, and the weight stays 1.
    """

    def __init__(self, column_map: ColumnMap, pictures: PictureFinder, notes: IngestNotes) -> None:
        assert column_map.queries is not None
        self._asks, self._product_id = column_map.queries, column_map.product_id
        self._own_files = bool(column_map.queries.files)
        self._pictures, self._notes = pictures, notes
        self._found: dict[tuple[Any, ...], _Asked] = {}
        self._bad: list[Placed] = []

    def add(self, row: RawRow | str, where: str) -> None:
        """Take in one row; one that asks nothing is passed over, unless it stands in a file of queries."""
        if isinstance(row, str):
            self._bad.append((where, row))
            return
        try:
            text, image, given = self._asked(row, where)
        except RowError as fault:
            self._bad.append((where, str(fault)))
            return
        if text is None and image is None:
            if self._own_files:
                self._bad.append((where, "a query needs words or a photo that is on disk"))
            return
        try:
            told = self._told(row, where)
        except RowError as fault:
            self._bad.append((where, str(fault)))
            return
        key = (given, told["signal"]) if given is not None else (None, text, image, *told.values())
        asked = self._found.get(key)
        if asked is None:
            asked = self._found[key] = _Asked(where, self._fields(given, text, image, told))
        elif differ := [
            name for name in _OF_ONE_ID if asked.fields[name] != (told | {"text": text, "image": image})[name]
        ]:
            self._bad.append(
                (where, f"query {given} stands already in {asked.where} with another {' and '.join(differ)}")
            )
            return
        elif told["timestamp"] is not None:
            asked.fields["timestamp"] = max(told["timestamp"], asked.fields["timestamp"] or -math.inf)
        rank = row.get(self._asks.position) if self._asks.position else None
        rank = float(rank) if isinstance(rank, int | float) and math.isfinite(rank) else _UNRANKED
        for product_id in self._products(row):
            asked.ranks[product_id] = min(rank, asked.ranks.get(product_id, _UNRANKED))

    def rows(self) -> Iterator[Placed]:
        """The queries, in the order in which they were first asked, in our columns."""
        yield from self._bad
        for asked in self._found.values():
            ranked = sorted(asked.ranks.items(), key=lambda pair: pair[1])
            fields = asked.fields | {"product_ids": [product_id for product_id, _ in ranked]}
            if self._asks.position:
                fields["extra"] = {"positions": [None if rank == _UNRANKED else rank for _, rank in ranked]}
            yield asked.where, fields

    def _asked(self, row: RawRow, where: str) -> tuple[str | None, str | None, str | int | None]:
        """Words, photo and id of the query in a row.

        Raises:
            RowError: A cell of another kind.
        """
        asks = self._asks
        text, given = (_given(row, column) for column in (asks.text, asks.query_id))
        if text is not None and not isinstance(text, str):
            raise RowError(f"{asks.text} must be text, got {type(text).__name__}")
        if given is not None and not isinstance(given, str | int):
            raise RowError(f"{asks.query_id} must be text or a whole number, got {type(given).__name__}")
        shots = self._pictures.shots([row.get(asks.image)] if asks.image else [])
        if shots.urls:
            self._notes.add("photos of queries named by URL and not on disk left out", where)
        return (even_spaces(text) or None if text else None), (shots.refs[0] if shots.refs else None), given

    def _products(self, row: RawRow) -> list[Any]:
        asks = self._asks
        if self._own_files and not asks.product_ids:
            return []
        cell = row.get(asks.product_ids or self._product_id)
        if isinstance(cell, str) and asks.product_separator:
            cell = [part.strip() for part in cell.split(asks.product_separator)]
        listed = cell if isinstance(cell, list) else [cell]
        return [str(one).strip() for one in listed if isinstance(one, str | int) and one != ""]

    def _told(self, row: RawRow, where: str) -> dict[str, Any]:
        """What a row says of its query beside words and photo.

        Raises:
            RowError: A cell of another kind.
        """
        asks, cells = self._asks, CellReader(row, where, self._notes)
        signal = cells.text(asks.signal) if asks.signal else None
        return {
            "signal": signal or str(asks.every_signal),
            "timestamp": cells.seconds(asks.timestamp) if asks.timestamp else None,
            "weight": cells.number(asks.weight) if asks.weight else None,
            "label": cells.text(asks.label) if asks.label else None,
        }

    def _fields(self, given: Any, text: str | None, image: str | None, told: dict[str, Any]) -> dict[str, Any]:
        asks = self._asks
        mapped = [told[name] for name in ("signal", "timestamp", "weight", "label") if getattr(asks, name)]
        if given is None:
            # What it says names a query that has no id, so that it keeps its name when the data grows.
            query_id = _name_of(text, image, mapped)
        else:
            query_id = f"{given}/{told['signal']}" if asks.signal else given
        kind = _kind(text, image, told["label"] is not None and not asks.product_ids and self._own_files)
        return {"query_id": query_id, "kind": kind, "text": text, "image": image} | told


def _given(row: RawRow, column: str | None) -> Any:
    """A cell, or None where there is none: tables write NaN for a missing text."""
    cell = row.get(column) if column else None
    return None if cell == "" or (isinstance(cell, float) and math.isnan(cell)) else cell


def _name_of(text: str | None, image: str | None, told: list[Any]) -> str:
    return "q-" + sha256_hex(json.dumps([text, image, *told]).encode())[:16]


def _kind(text: str | None, image: str | None, only_label: bool) -> str:
    if only_label:
        return str(QueryKind.PHOTO_LABEL)
    if text and image:
        return str(QueryKind.BOTH)
    return str(QueryKind.TEXT if text else QueryKind.PHOTO)
