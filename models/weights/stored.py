"""Configurations as they were stored: what transformers and timm raise over a damaged one is told with its file."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from catalog import ModelError

SIZES = frozenset(
    {
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "head_dim", "max_position_embeddings", "depth", "num_heads", "embed_dim"),
        *("out_hidden_size", "patch_size", "temporal_patch_size", "spatial_merge_size", "image_size", "scale_factor"),
    }
)
"""Entries that count something of which there is at least one: classes take a zero, and divide by it later."""
NUM_CHANNELS = 3


@contextmanager
def faults_told(problem: str, where: str, fix: str, *more: type[Exception]) -> Iterator[None]:
    """Turn what libraries raise while they build something from a stored configuration into one error with its file.

    Args:
        problem: What failed.
        where: The file or key the configuration comes from.
        fix: What to do.
        more: Kinds of errors that mean the same here, beside those of values of a wrong kind.

    Raises:
        ModelError: In place of any of them.
    """
    from huggingface_hub.errors import StrictDataclassError

    kinds = (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError, IndexError, ZeroDivisionError)
    told: tuple[type[Exception], ...] = (*kinds, *more)
    try:
        yield
    except told as error:
        # The cause stays: a mistake of ours in there must not look like a damaged file alone.
        raise ModelError(
            problem, where=where, got=f"{type(error).__name__}: {' '.join(str(error).split())}", fix=fix
        ) from error


def check_config(config: Mapping[str, Any], where: str, fix: str) -> None:
    """Check that transformers' own class takes a stored configuration, and that no size in it is below one.

    One without a model type that transformers knows passes: who needs the type asks for it.

    Raises:
        ModelError: Values that are none; the first is named.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return
    problem = "configuration of the weights cannot be used"
    below = _below_one(config)
    if below:
        raise ModelError(problem, where=where, got=", ".join(below), allowed="1 or more", fix=fix)
    with faults_told(problem, where, fix):
        # Classes rewrite what they are given.
        CONFIG_MAPPING[kind].from_dict(copy.deepcopy(dict(config)))


def check_statistics(mean: Any, std: Any, where: str, fix: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a picture's channels, as they were stored.

    Returns:
        Three finite numbers each, those of the deviation above zero.

    Raises:
        ModelError: They are something else.
    """
    sound = _three_numbers(mean) and _three_numbers(std) and min(std) > 0
    if not sound:
        raise ModelError(
            "mean and standard deviation of the pixels cannot be used",
            where=where,
            got=f"mean {mean!r}, standard deviation {std!r}",
            allowed="three finite numbers each, the deviations above 0",
            fix=fix,
        )
    return [float(x) for x in mean], [float(x) for x in std]


def _below_one(config: Mapping[str, Any], within: str = "") -> list[str]:
    found = [f"{within}{name} {config[name]}" for name in sorted(SIZES & config.keys()) if _is_below_one(config[name])]
    for name, value in config.items():
        if isinstance(value, Mapping):
            found += _below_one(value, f"{within}{name}.")
    return found


def _is_below_one(value: Any) -> bool:
    return isinstance(value, int | float) and value < 1


def _three_numbers(values: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and len(values) == NUM_CHANNELS
        and all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in values)
    )
