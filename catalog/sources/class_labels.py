"""Whole numbers that stand for names: Hugging Face keeps class labels so, and the names beside the columns."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa


def label_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Columns of class labels, single or in lists, to the names that their numbers stand for.

    Without them a category would read `3`, and a model would be asked to name a number.

    Source: the schema's metadata as Hugging Face's `datasets` writes it, `info.features` under the key huggingface.
    """
    try:
        held = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = held["info"]["features"]
        found = {name: _names_of(features[name]) for name in schema.names if name in features}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {name: names for name, names in found.items() if names}


def named(cell: Any, names: list[str]) -> Any:
    """The name or names of a cell's numbers; None for a number without one, such as -1, the sign of no label."""
    if isinstance(cell, list):
        return [named(one, names) for one in cell]
    if not isinstance(cell, int):
        return cell
    return names[cell] if 0 <= cell < len(names) else None


def _names_of(feature: Any) -> list[str]:
    if isinstance(feature, list) and len(feature) == 1:
        return _names_of(feature[0])
    if not isinstance(feature, dict):
        return []
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _names_of(feature.get("feature"))
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else []
