"""YAML with the line of every key, so that a mistake in a recipe can be pointed at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from catalog.errors import ConfigError

KeyPath = tuple[str | int, ...]


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """A YAML mapping, and the line (from 1) on which each key path stands.

    Raises:
        ConfigError: No such file, not YAML, not a mapping, or a key that is given twice in one mapping (YAML would
            silently keep the last).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("recipe cannot be read", where=str(path), got=str(error)) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError("recipe is not YAML", where=where, got=reason) from None
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise ConfigError("recipe is not a mapping of keys", where=str(path), got=type(data).__name__)
    lines: dict[KeyPath, int] = {}
    _walk(root, (), lines, path)
    return data, lines


def _walk(node: yaml.Node | None, at: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            line = key.start_mark.line + 1
            if here in lines:
                raise ConfigError(
                    f"key `{key.value}` is given twice",
                    where=f"{path}:{line}",
                    got=f"also on line {lines[here]}",
                    fix="keep one of the two",
                )
            lines[here] = line
            _walk(value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            _walk(value, (*at, index), lines, path)
