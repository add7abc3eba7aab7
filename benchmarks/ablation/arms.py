"""The arms of the ablation: what each changes in a recipe, and nothing else.

An arm is held to be the recipe with one part taken out, or, a `plus_` one, put in. Where an arm finds its part already
so, it has nothing to say and is left out: which of `plain_pooling` and `balanced_pooling` runs, or of `minus_queue` and
`plus_queue`, depends on what the recipe has.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from catalog import ConfigError
from moon.yaml_lines import read_yaml

FULL, DUAL = "full", "dual"

SECTIONS = ("regions", "model", "train", "boxes", "served_crops")
"""What an arm may change: sections of the configuration, true boxes for found ones, and the crops that the judged model
is fed. What is judged, and how, is the same for all."""


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    name: str
    title: str
    """For tables."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Section -> key -> value, nested as the configuration is."""
    parameters: Literal["free", "checked", "fitted"] = "free"
    """Trainable parameters: as they come; as many as full's, or refused; brought to full's by the width of the rival's
    image map, or refused."""
    tolerance_frac: float = 0.1
    """How far they may lie from full's, where that is looked at."""


_DENSE = {"model": {"moe": {"kind": "dense"}}}
_NO_HARD = {"train": {"hard_negatives_per_query": 0, "negatives": {"hard_weight": 1.0}}}
_NO_QUEUE = {"train": {"negatives": {"queue_size": 0}}}
_NO_NEGATIVES = {"train": {"hard_negatives_per_query": 0, "negatives": {"hard_weight": 1.0, "queue_size": 0}}}
_HARD = {"train": {"hard_negatives_per_query": 3}}
_QUEUE = {"train": {"negatives": {"queue_size": 256}}}
_FILTER = {"train": {"filter": {"enabled": True}}}
_MODALITY = {"train": {"modality": {"enabled": True}}}
_NO_MASKS = {"train": {"mask_same_group": False, "mask_accepted": False, "similarity_guard": None}}
_LATE = {"model": {"fusion": "late", "slots": False, "moe": {"kind": "dense"}}}

ARMS: tuple[Arm, ...] = (
    Arm(FULL, "full MOON"),
    Arm(DUAL, "dual encoder", _LATE, parameters="fitted"),
    Arm("minus_moe", "minus guided MoE (dense, same parameters)", _DENSE, parameters="checked", tolerance_frac=0.02),
    Arm("minus_crop", "minus crop", {"model": {"crops": "none"}}),
    Arm("minus_negatives", "minus negatives (hard and queue)", _NO_NEGATIVES),
    Arm("minus_hard_negatives", "minus hard negatives", _NO_HARD),
    Arm("plus_hard_negatives", "plus hard negatives, 3 a query", _HARD),
    Arm("minus_queue", "minus queue", _NO_QUEUE),
    Arm("plus_queue", "plus queue of 256", _QUEUE),
    Arm("plus_filter", "plus sample filter", _FILTER),
    Arm("plus_modality", "plus modality weights", _MODALITY),
    Arm("minus_false_negative_masks", "minus false-negative masks", _NO_MASKS),
    Arm("minus_alignment", "minus alignment", {"train": {"alignment_weight": 0.0}}),
    Arm("minus_labels", "minus label texts", {"train": {"label_weight": 0.0}}),
    Arm("minus_vision_residual", "minus vision residual", {"model": {"vision_residual": False}}),
    Arm("plus_vision_residual", "plus vision residual", {"model": {"vision_residual": True}}),
    Arm("minus_word_residual", "minus word residual", {"model": {"word_residual": False}}),
    Arm("plus_word_residual", "plus word residual", {"model": {"word_residual": True}}),
    Arm("minus_code_residual", "minus code residual", {"model": {"code_residual": False}}),
    Arm("minus_colour_residual", "minus colour residual", {"model": {"colour_residual": False}}),
    Arm("minus_slots", "minus slots", {"model": {"slots": False}}),
    Arm("plain_pooling", "plain pooling", {"model": {"pooling": "mean"}}),
    Arm("balanced_pooling", "balanced pooling", {"model": {"pooling": "balanced"}}),
    Arm("switch", "experts switch", {"model": {"moe": {"combination": "switch"}}}),
    Arm("additive", "experts add", {"model": {"moe": {"combination": "additive"}}}),
)

PAPERS_PARTS = {
    "minus_crop": "core crop",
    "minus_moe": "guided MoE",
    "minus_negatives": "negatives",
}
"""The parts whose removal the paper measures, in its order of loss (MOON, arXiv 2508.11999)."""

PUT_IN = {"minus_negatives": "plus_hard_negatives"}
"""What is measured of such a part where a recipe does without it."""


@dataclass(frozen=True)
class Baseline:
    """A rival that learns nothing."""

    name: str
    title: str
    seeded: bool = False
    """Whether its vectors depend on the seed."""


BASELINES: tuple[Baseline, ...] = (
    Baseline("title_words", "title words"),
    Baseline("majority", "majority class"),
    Baseline("colour_histogram", "colour histogram"),
    Baseline("frozen_vision", "frozen vision"),
    Baseline("untrained", "untrained", seeded=True),
    Baseline("random", "random", seeded=True),
)


def deep(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping; neither is touched."""
    merged = copy.deepcopy(dict(base))
    for key, value in changes.items():
        own = merged.get(key)
        merged[key] = deep(own, value) if isinstance(value, Mapping) and isinstance(own, Mapping) else value
    return merged


def read_arms(path: Path) -> tuple[Arm, ...]:
    """Further arms, such as remedies under trial, from a YAML file.

    Each key is an arm's name: `about` a line for tables, `like` full or dual, `changes` by section.

    Raises:
        ConfigError: The file or an arm in it cannot be used.
    """
    data, lines = read_yaml(path)
    known = {arm.name: arm for arm in ARMS}
    made = []
    for name, given in data.items():
        where = f"{path}:{lines.get((name,), '?')}"
        keys = set(given) if isinstance(given, dict) else set()
        if not keys or not keys <= {"about", "like", "changes"}:
            raise ConfigError(
                f"arm {name} is not a mapping of what an arm is made of",
                where=where,
                got=", ".join(sorted(map(str, keys))) or type(given).__name__,
                allowed="about, like (full or dual), changes",
            )
        like, changes = str(given.get("like", FULL)), given.get("changes") or {}
        wrong = [key for key in changes if key not in SECTIONS]
        if name in known or like not in (FULL, DUAL) or wrong:
            raise ConfigError(
                f"arm {name} cannot be used",
                where=where,
                got=", ".join(map(str, wrong)) or (name if name in known else f"like: {like}"),
                allowed=f"a new name; like: full or dual; changes in {', '.join(SECTIONS)}",
            )
        parent = known[like]
        made.append(
            Arm(
                str(name),
                str(given.get("about", name)),
                deep(parent.changes, changes),
                parent.parameters,
                parent.tolerance_frac,
            )
        )
    return tuple(made)


def choose_arms(names: Sequence[str], arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms of these names, in the order of `arms`, so that full comes first.

    Raises:
        ConfigError: A name that no arm has.
    """
    known = {arm.name: arm for arm in arms}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ConfigError(
                "no arm has this name",
                got=name,
                allowed=", ".join(known),
                fix=f"did you mean {near[0]}?" if near else "",
            )
    return tuple(arm for arm in arms if arm.name in names)
