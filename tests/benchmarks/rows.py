"""Small rows, jobs and outcomes for the ablation's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation.arms import ARMS, deep
from benchmarks.ablation.comparison import ArmRows, Judged, arm_of
from benchmarks.ablation.matching import Count, Match
from benchmarks.ablation.planning import Origin, arm_jobs, origin_of
from benchmarks.ablation.protocol import PROTOCOLS, Protocol, Recipe, Setup
from benchmarks.ablation.results import Row, Rows, pack, write_json
from benchmarks.ablation.runs import Job, Measured
from moon.config import MoonConfig
from validation.statistics import Outcome

DEMO, LUMA = PROTOCOLS["demo"], PROTOCOLS["luma"]
DATA = "d" * 64
ARMS_BY_NAME = {arm.name: arm for arm in ARMS}
ONCE = {"full": (1.0, 1), "dual": (1.0, 1)}

IMAGE, TEXT, BOTH = "image_to_product/recall@1", "text_to_product/recall@10", "both_to_product/recall@1"
LEAF = "category_leaf_title_hidden/accuracy"


WHOLE: dict[str, Any] = {
    "model": {
        "fusion": "decoder",
        "late_hidden_size": 256,
        "crops": "both",
        "slots": True,
        "pooling": "balanced",
        "vision_residual": True,
        "word_residual": True,
        "colour_residual": True,
        "moe": {"kind": "guided", "combination": "additive"},
    },
    "train": {
        "hard_negatives_per_query": 3,
        "alignment_weight": 0.3,
        "label_weight": 1.0,
        "mask_same_group": True,
        "mask_accepted": True,
        "similarity_guard": 0.3,
        "negatives": {"queue_size": 0, "hard_weight": 1.0},
    },
}
"""Every part but the queue, whatever the defaults are."""


def recipe(**sections: Mapping[str, Any]) -> Recipe:
    """A recipe of the demo with every part but the queue, and these sections laid over it."""
    return Recipe("configs/train_moon/demo.yaml", MoonConfig.model_validate(deep(WHOLE, sections)))


def no_match(full: Setup, own: Setup, arm: Any) -> Match:
    """Everything has a thousand parameters."""
    width = 77 if arm.parameters == "fitted" else None
    return Match(Count(1000, 0), Count(1000, 0), width)


def origin(protocol: Protocol = DEMO, own: Recipe | None = None) -> Origin:
    """A recipe that no row stands under yet."""
    return origin_of(own or recipe(), protocol, DATA, {})


def jobs(
    names: Sequence[str], seeds: Sequence[int], protocol: Protocol = DEMO, own: Recipe | None = None, **options: Any
) -> list[Job]:
    """Jobs of arms by name."""
    arms = [arm for arm in ARMS if arm.name in names]
    start = origin(protocol, own)
    return arm_jobs(start, arms, seeds, ONCE, options.pop("match", no_match), **options)


def outcome(values: Sequence[float], groups: Sequence[str] | None = None, name: str = "q") -> Outcome:
    """Items q0, q1, ..; each a group of its own where none is given."""
    ids = tuple(f"{name}{index}" for index in range(len(values)))
    return Outcome(ids, tuple(groups or ids), np.asarray(values, dtype=np.float64))


def measured(seconds: float = 60.0, main: float | None = 0.5, **outcomes: Outcome) -> Measured:
    """What a fake run answers."""
    kept = {IMAGE: outcome([1, 0])} | outcomes
    return Measured(
        eval_set_digest="e",
        harness_digest="h",
        scores={name: (float(one.values.mean()), len(one.ids)) for name, one in kept.items()},
        main_score=main,
        outcomes=kept,
        steps=3,
        trainable=1000,
        train_s=seconds / 2,
    )


def row(arm: str = "full", seed: int = 1, **fields: Any) -> Row:
    """A row; whatever is not given has a value that fits."""
    given: dict[str, Any] = {
        "kind": "arm",
        "data": "demo",
        "title": arm,
        "fold": None,
        "side": "test",
        "recipe": DEMO.recipe,
        "recipe_digest": "r",
        "config_digest": "c",
        "changes": {},
        "lr_factor": 1.0,
        "lr_tried": 1,
        "commit": "abcdef123456",
        "machine": {"cpu": "a processor", "cores": 2, "torch": "2"},
        "finished_at": "2026-01-01T00:00:00+00:00",
        "data_digest": DATA,
        "eval_set_digest": "e",
        "harness_digest": "h",
        "steps": 3,
        "trainable": 1000,
        "idle": 0,
        "train_s": 60.0,
        "total_s": 90.0,
        "main_score": 0.5,
        "scores": {},
        "final": {},
        "outcomes": "",
    }
    return Row.model_validate(given | fields | {"arm": arm, "seed": seed})


def arm_rows(name: str, *by_seed: Mapping[str, Outcome], first_seed: int = 1, **fields: Any) -> ArmRows:
    """An arm with one row a mapping of outcomes."""
    found = [Judged(row(name, first_seed + place, **fields), one) for place, one in enumerate(by_seed)]
    return arm_of(name, found)


def store(results: Path, made: Row, outcomes: Mapping[str, Outcome], data: str = "demo") -> None:
    """Write a row with its results by item, as the harness does."""
    path = f"outcomes/{data}/{made.arm}-{made.seed}-{made.recipe_digest}.json"
    write_json(results / path, pack(outcomes))
    Rows(results / f"{data}.jsonl").append(made.model_copy(update={"outcomes": path, "data": data}))
