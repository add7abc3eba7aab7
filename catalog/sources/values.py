"""Loose cells to typed values; whatever cannot be one says why and how to write it."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from catalog.sources.notes import IngestNotes, RowError
from catalog.text import clean_text

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")


class CellReader:
    """Reads the cells of one row; what it changes on the way goes into the notes."""

    def __init__(self, row: Mapping[str, Any], where: str, notes: IngestNotes) -> None:
        self.row, self.where, self.notes = row, where, notes

    def clean(self, text: str, name: str, *, one_line: bool = True) -> str:
        """`text` without control characters, composed."""
        cleaned, num_stripped = clean_text(text, one_line=one_line)
        if num_stripped:
            self.notes.add(f"control characters stripped from {name}", self.where)
        return cleaned

    def text(self, name: str, *, one_line: bool = True) -> str | None:
        """A string; empty counts as absent."""
        value = _present(self.row.get(name))
        if value is None:
            return None
        if not isinstance(value, str):
            raise RowError(f"{name} must be text, got {_shown(value)}")
        return self.clean(value, name, one_line=one_line) or None

    def identifier(self, name: str) -> str:
        """A string or whole number that names the row."""
        value = _present(self.row.get(name))
        found = self._identifier(value, name) if value is not None else ""
        if not found:
            raise RowError(f"no {name}; every row needs one, got the columns {', '.join(map(str, self.row)) or 'none'}")
        return found

    def identifiers(self, name: str) -> tuple[str, ...]:
        """A list of row names, repeated ones once."""
        found = (self._identifier(value, name) for value in self.listed(name))
        return tuple(dict.fromkeys(text for text in found if text))

    def _identifier(self, value: Any, name: str) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise RowError(f"{name} must be text or a whole number, got {_shown(value)}")
        return self.clean(value, name)

    def number(self, name: str) -> float | None:
        """A finite number, or a string that reads as one."""
        value = _present(self.row.get(name))
        if isinstance(value, str):
            if not value.strip():
                return None
            if not _NUMBER.fullmatch(value.strip()):
                raise RowError(f"{name} must be a number, got {_shown(value)}; write 1299.5, without a currency")
            value = float(value)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal):
            raise RowError(f"{name} must be a number, got {_shown(value)}")
        if not math.isfinite(value):
            raise RowError(f"{name} must be a finite number, got {value}")
        return float(value)

    def seconds(self, name: str) -> float | None:
        """Seconds since 1970-01-01 UTC; a Parquet timestamp without a zone is taken as UTC."""
        value = self.row.get(name)
        if isinstance(value, datetime.datetime):
            return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
        return self.number(name)

    def flag(self, name: str) -> bool:
        """True or false; absent is false."""
        value = self.row.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise RowError(f"{name} must be true or false, got {_shown(value)}")

    def listed(self, name: str) -> list[Any]:
        """A list; absent is empty, and a lone value is an error rather than a guess."""
        value = self.row.get(name)
        if value is None:
            return []
        if isinstance(value, str):
            example = json.dumps([part.strip() for part in re.split(r"[>/|]", value) if part.strip()] or [value])
            raise RowError(f"{name} is a string, {_shown(value)}; write a list, for example {example:.120}")
        if not isinstance(value, list | tuple):
            raise RowError(f"{name} must be a list, got {_shown(value)}")
        return list(value)

    def words(self, name: str) -> tuple[str, ...]:
        """A list of non-empty strings; empty ones are left out."""
        found = []
        for value in self.listed(name):
            if value is not None and not isinstance(value, str):
                raise RowError(f"{name} must hold text, got {_shown(value)}")
            text = self.clean(value, name) if value else ""
            if text:
                found.append(text)
            else:
                self.notes.add(f"empty entries of {name} left out", self.where)
        return tuple(found)

    def references(self, name: str) -> tuple[str, ...]:
        """A list of image references."""
        return tuple(image_reference(value, name) for value in self.listed(name))

    def attributes(self) -> dict[str, str | tuple[str, ...]]:
        """Names to a value or several; empty values are left out, numbers and booleans read as text."""
        found: dict[str, str | tuple[str, ...]] = {}
        for raw_name, raw in self.mapping("attributes").items():
            name = self.clean(raw_name, "attributes")
            if isinstance(raw, list | tuple):
                texts = [self._attribute_text(name, value) for value in raw]
                several = tuple(dict.fromkeys(text for text in texts if text))
                if name and several:
                    found[name] = several
            elif name and (text := self._attribute_text(name, raw)):
                found[name] = text
        return found

    def _attribute_text(self, name: str, value: Any) -> str:
        value = _present(value)
        if value is None:
            return ""
        if isinstance(value, bool):
            return "Yes" if value else "No"
        if isinstance(value, int | float | decimal.Decimal):
            return f"{value:g}" if isinstance(value, float) else str(value)
        if not isinstance(value, str):
            raise RowError(f"attributes.{name} must be text or a list of texts, got {_shown(value)}")
        return self.clean(value, f"attributes.{name}")

    def mapping(self, name: str) -> dict[str, Any]:
        """An object, or a string that holds one as JSON, as Parquet tables keep it."""
        value = self.row.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else None
            except (ValueError, RecursionError):
                raise RowError(f"{name} is text that is not JSON, {_shown(value)}; write an object") from None
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise RowError(f'{name} must be an object such as {{"color": "Black"}}, got {_shown(value)}')
        return value

    def plain(self, value: Any, name: str) -> Any:
        """A cell the schema does not know, as plain JSON without empty parts."""
        value = _present(value)
        if isinstance(value, str):
            return self.clean(value, name, one_line=False)
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, Mapping):
            parts = {self.clean(str(key), name): self.plain(part, name) for key, part in value.items()}
            return {key: part for key, part in parts.items() if part is not None}
        if isinstance(value, list | tuple):
            return [self.plain(part, name) for part in value]
        if isinstance(value, decimal.Decimal):
            return float(value) if value.is_finite() else None
        return self.clean(str(value), name, one_line=False)


def image_reference(value: Any, name: str) -> str:
    """A reference that stays below the catalogue's root.

    Not composed to NFC like other text: it must spell the file's name as the disk does.

    Raises:
        RowError: Not text, or it could leave the root: absolute, with a scheme, or through `..`.
    """
    if not isinstance(value, str) or not value:
        raise RowError(f"{name} must hold paths such as images/1.jpg, got {_shown(value)}")
    parts = value.split("/")
    if "\\" in value:
        raise RowError(f"image {_shown(value)} has a backslash; write paths with /")
    if value.startswith(("/", "~")) or _SCHEME.match(value) or "::" in value:
        raise RowError(f"image {_shown(value)} is absolute or a URL; write it relative to the catalogue's folder")
    if ".." in parts:
        raise RowError(f"image {_shown(value)} leaves the catalogue's folder; put the file below it")
    if clean_text(value)[1] or any(ord(char) < 32 for char in value):
        raise RowError(f"image {_shown(value)} has control characters in its name; rename the file")
    return value


def _present(value: Any) -> Any:
    """None for what tables write in place of a missing value."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _shown(value: Any) -> str:
    """A cell for an error message, cut short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
