"""Dataclasses to plain data and back, driven by their fields: a new field comes along by itself."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

Place = Callable[[Any], Any]


def to_plain(value: Any, special: Mapping[type, Place]) -> Any:
    """Plain data of a value: dicts, lists, text, numbers, None. Sets are sorted.

    Args:
        value: Dataclasses, pydantic rows, tuples, lists, sets, dicts with text keys, enums, and plain values.
        special: Type -> what stands for its values.

    Raises:
        TypeError: Anything else: it would not come back as it went.
    """
    if type(value) in special:
        return special[type(value)](value)
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_plain(getattr(value, one.name), special) for one in fields(value) if one.init}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_plain(one, special) for one in value]
    if isinstance(value, frozenset | set):
        return sorted(to_plain(one, special) for one in value)
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {key: to_plain(one, special) for key, one in value.items()}
    if value is None or type(value) in (str, bool, int, float):
        return value
    raise TypeError(f"{type(value).__name__} has no plain form")


def from_plain(kind: Any, data: Any, special: Mapping[type, Place], where: str = "") -> Any:
    """The value of type `kind` that `to_plain` gave `data` for.

    Args:
        kind: A type as annotations give it.
        data: Plain data.
        special: Type -> its value from what stands for it.
        where: Path of keys, for the error.

    Raises:
        ValueError: The data does not fit the type; names the path. A field that is absent keeps its default, one that
            the type does not know is refused.
    """
    if kind in special:
        return special[kind](data)
    if kind is Any:
        return data
    origin, arms = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(arms, data, special, where)
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind, data, special, where)
    if origin is tuple and not (len(arms) == 2 and arms[1] is Ellipsis):
        rows = _rows(data, where)
        if len(rows) != len(arms):
            raise ValueError(f"{where}: {len(rows)} values for {len(arms)}")
        pairs = enumerate(zip(arms, rows, strict=True))
        return tuple(from_plain(arm, one, special, f"{where}[{i}]") for i, (arm, one) in pairs)
    if origin in (tuple, list, frozenset, set):
        return origin(from_plain(arms[0], one, special, f"{where}[{i}]") for i, one in enumerate(_rows(data, where)))
    if origin is dict:
        return {key: from_plain(arms[1], one, special, f"{where}.{key}") for key, one in _mapping(data, where).items()}
    try:
        return _adapter(kind).validate_python(data, strict=not _is_lenient(kind))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join((where, *map(str, first['loc'])))}: {first['msg']}") from None


def _dataclass(kind: type, data: Any, special: Mapping[type, Place], where: str) -> Any:
    given, hints = _mapping(data, where), _hints(kind)
    known = {one.name: one for one in fields(kind) if one.init}
    unknown = sorted(given.keys() - known.keys())
    missing = sorted(name for name, one in known.items() if name not in given and _is_required(one))
    if unknown or missing:
        raise ValueError(f"{where or kind.__name__}: unknown {unknown}, missing {missing}")
    return kind(**{name: from_plain(hints[name], one, special, f"{where}.{name}") for name, one in given.items()})


def _one_of(arms: tuple[Any, ...], data: Any, special: Mapping[type, Place], where: str) -> Any:
    """The value of the first arm that the data fits; no two dataclasses of a union share all their field names."""
    others = [arm for arm in arms if arm is not type(None)]
    if data is None and len(others) < len(arms):
        return None
    told = []
    for arm in others:
        try:
            return from_plain(arm, data, special, where)
        except ValueError as error:
            told.append(str(error))
    raise ValueError("; or ".join(told))


def _is_required(one: Any) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _rows(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise ValueError(f"{where}: a list was expected, got {type(data).__name__}")
    return data


def _mapping(data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: a mapping was expected, got {type(data).__name__}")
    return data


def _is_lenient(kind: Any) -> bool:
    """Rows know their own rules, and plain data holds an enum as its value."""
    return isinstance(kind, type) and issubclass(kind, BaseModel | Enum)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
