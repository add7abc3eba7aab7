"""Recipes: the YAML file of a run, checked key by key before anything starts.

ZenML drops a key that it does not know without a word, at the top of the file and inside a step. Here every key is
held against what exists, at all levels, and every mistake is told in one go with its line and the nearest right key.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from catalog.errors import ConfigError
from moon.yaml_lines import KeyPath, read_yaml

RECIPES_FOLDER = Path(__file__).resolve().parent.parent / "configs"


@dataclass(frozen=True)
class RecipeSchema:
    """What a recipe of one pipeline may hold."""

    top_keys: Collection[str]
    step_keys: Collection[str]
    parameters: Mapping[str, Any]
    """Parameter of the pipeline -> its type."""
    steps: Mapping[str, Collection[str]]
    """Step -> names of its parameters."""


def check_recipe(path: Path, schema: RecipeSchema) -> dict[str, Any]:
    """Read a recipe and hold every key and value against the schema.

    Returns:
        The validated parameters of the pipeline.

    Raises:
        ConfigError: The file cannot be read, or holds any mistake; all of them are named.
    """
    data, lines = read_yaml(path)
    mistakes = [*_unknown(data, schema.top_keys, ())]
    parameters = _mapping(data, "parameters", (), mistakes)
    mistakes += _unknown(parameters, schema.parameters, ("parameters",))
    values: dict[str, Any] = {}
    for name, kind in schema.parameters.items():
        if name in parameters:
            try:
                values[name] = TypeAdapter(kind).validate_python(parameters[name])
            except ValidationError as error:
                mistakes += _value_mistakes(error, kind, parameters[name], ("parameters", name))
    mistakes += _step_mistakes(_mapping(data, "steps", (), mistakes), schema)
    if mistakes:
        raise _as_error(path, mistakes, lines)
    return values


def _step_mistakes(steps: Mapping[str, Any], schema: RecipeSchema) -> Iterable[tuple[KeyPath, str]]:
    mistakes = [*_unknown(steps, schema.steps, ("steps",))]
    for name, parameter_names in schema.steps.items():
        block = _mapping(steps, name, ("steps",), mistakes)
        mistakes += _unknown(block, schema.step_keys, ("steps", name))
        parameters = _mapping(block, "parameters", ("steps", name), mistakes)
        at: KeyPath = ("steps", name, "parameters")
        unknown = [*_unknown(parameters, parameter_names, at)]
        mistakes += unknown
        wrong = {path[-1] for path, _ in unknown}
        # The pipeline hands every step its section; ZenML would refuse the second value with a page of text.
        mistakes += [
            ((*at, key), "is set by the pipeline; put the value under `parameters.config`")
            for key in parameters
            if key not in wrong
        ]
    return mistakes


def _mapping(
    parent: Mapping[str, Any], key: str, at: KeyPath, mistakes: list[tuple[KeyPath, str]]
) -> Mapping[str, Any]:
    value = parent.get(key)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    mistakes.append(((*at, key), f"must be a mapping of keys, got {type(value).__name__}"))
    return {}


def _unknown(given: Mapping[str, Any], known: Collection[str], at: KeyPath) -> Iterable[tuple[KeyPath, str]]:
    return [((*at, str(key)), _unknown_text(str(key), known)) for key in given if key not in known]


def _unknown_text(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    if near:
        return f"unknown key; did you mean `{near[0]}`?"
    return f"unknown key; allowed: {', '.join(sorted(known)) or 'none'}"


def _value_mistakes(error: ValidationError, kind: Any, data: Any, at: KeyPath) -> Iterable[tuple[KeyPath, str]]:
    rows = [(_without_tags(row["loc"], data, row["type"] == "missing"), row) for row in error.errors(include_url=False)]
    paths = {loc for loc, _ in rows}
    mistakes = []
    for loc, row in rows:
        if any(other[: len(loc)] == loc and other != loc for other in paths):
            # One arm of a union wants another type; the arm that was meant has told what is wrong inside.
            continue
        path: KeyPath = (*at, *loc)
        if row["type"] == "extra_forbidden":
            known = _fields_at(kind, row["loc"][:-1])
            mistakes.append((path, _unknown_text(str(row["loc"][-1]), known)))
        elif row["type"] == "value_error":
            mistakes.append((path, row["msg"].removeprefix("Value error, ")))
        else:
            text = row["msg"][:1].lower() + row["msg"][1:]
            mistakes.append((path, f"got {row['input']!r}, but {text.replace('input should', 'it should')}"))
    return mistakes


def _without_tags(loc: tuple[str | int, ...], data: Any, is_missing: bool) -> tuple[str | int, ...]:
    """The path as the file has it: pydantic puts the name of a union's arm between the keys, or behind them.

    Args:
        loc: Of the mistake, as pydantic tells it.
        data: What was given.
        is_missing: The last key is one that the file has not.
    """
    kept: list[str | int] = []
    for step in loc:
        inside = isinstance(data, dict) and step in data
        inside = inside or (isinstance(data, list) and isinstance(step, int) and step < len(data))
        if inside:
            data = data[step]
            kept.append(step)
    return (*kept, *loc[-1:]) if is_missing else tuple(kept)


def _fields_at(kind: Any, loc: tuple[str | int, ...]) -> Collection[str]:
    """Field names of the section that `loc` leads to; none where it leads through something else."""
    for step in loc:
        model = _as_model(kind)
        if model is not None and step in model.model_fields:
            kind = model.model_fields[str(step)].annotation
        elif model is None and isinstance(step, int | str) and get_args(kind):
            # An entry of a list or dict; or the tag pydantic puts in for one arm of a union.
            kind = next((arm for arm in get_args(kind) if _as_model(arm) is not None), None)
    model = _as_model(kind)
    return model.model_fields if model is not None else ()


def _as_model(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) is None:
        return None
    arms = [arm for arm in get_args(kind) if isinstance(arm, type) and issubclass(arm, BaseModel)]
    return arms[0] if len(arms) == 1 and get_origin(kind) not in (dict, list, tuple) else None


def _as_error(path: Path, mistakes: list[tuple[KeyPath, str]], lines: Mapping[KeyPath, int]) -> ConfigError:
    rows = []
    for key_path, text in mistakes:
        line = _line_of(key_path, lines)
        rows.append((line or 0, f"line {line or '?'}: `{'.'.join(map(str, key_path))}` {text}"))
    texts = [text for _, text in sorted(rows)]
    plural = "mistakes" if len(texts) > 1 else "mistake"
    return ConfigError(
        f"recipe {path} has {len(texts)} {plural}\n" + "\n".join(f"  {text}" for text in texts),
        fix=f"correct the file, then: moon check-config {path}",
    )


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of a key path, or of the deepest part of it that stands in the file."""
    for size in range(len(path), 0, -1):
        if path[:size] in lines:
            return lines[path[:size]]
    return None
