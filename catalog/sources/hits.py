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

_UNRANKED = math.inf


@dataclass
class _Asked:
    where: str
    fields: dict[str, Any]
    ranks: dict[Any, float] = field(default_factory=dict)
    """Product to its rank; the best where it stands twice."""


class HitGatherer:
    """Gathers queries while rows stream by; they come out when all rows are read.

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
        asked = self._found.get(key := ("id", given) if given is not None else ("what", text, image))
        if asked is None:
            asked = self._found[key] = _Asked(where, self._fields(row, given, text, image))
        elif (text, image) != (asked.fields["text"], asked.fields["image"]):
            self._bad.append((where, f"query {given} stands already in {asked.where} with other words or photo"))
            return
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

    def _fields(self, row: RawRow, given: Any, text: str | None, image: str | None) -> dict[str, Any]:
        asks = self._asks
        label = row.get(asks.label) if asks.label else None
        fields = {
            # Text and photo name a query that has no id, so that it keeps its name when the data grows.
            "query_id": _name_of(text, image) if given is None else given,
            "kind": _kind(text, image, label is not None and not asks.product_ids and self._own_files),
            "text": text,
            "image": image,
            "label": label,
            "signal": (row.get(asks.signal) if asks.signal else None) or str(asks.every_signal),
        }
        optional = {"timestamp": asks.timestamp, "weight": asks.weight}
        return fields | {name: row.get(column) for name, column in optional.items() if column}


def _given(row: RawRow, column: str | None) -> Any:
    """A cell, or None where there is none: tables write NaN for a missing text."""
    cell = row.get(column) if column else None
    return None if cell == "" or (isinstance(cell, float) and math.isnan(cell)) else cell


def _name_of(text: str | None, image: str | None) -> str:
    return "q-" + sha256_hex(json.dumps([text, image]).encode())[:16]


def _kind(text: str | None, image: str | None, only_label: bool) -> str:
    if only_label:
        return str(QueryKind.PHOTO_LABEL)
    if text and image:
        return str(QueryKind.BOTH)
    return str(QueryKind.TEXT if text else QueryKind.PHOTO)
