"""Records with numbers chosen by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from validation.benchmark import MAIN_METRICS, BenchmarkRecord, Score, TaskInfo
from validation.statistics import Outcome

METRICS = (
    *MAIN_METRICS,
    *("image_to_product/recall@10", "image_to_product/mrr", "category_level_1_title_hidden/accuracy"),
    *("category_leaf/accuracy", "attribute.color_title_hidden/accuracy"),
)


def record(
    name: str = "moon",
    value: float = 0.5,
    *,
    n: int = 100,
    digest: str | None = None,
    eval_set: str = "set-1",
    harness: str = "code-1",
    not_applicable: dict[str, str] | None = None,
    **changed: float | None,
) -> BenchmarkRecord:
    """All METRICS at `value`; `changed` gives others by a name with __ for / and _at_ for @, None to leave one out."""
    values: dict[str, float | None] = dict.fromkeys(METRICS, value)
    for key, own in changed.items():
        values[key.replace("__", "/").replace("_at_", "@").replace("attribute_", "attribute.")] = own
    scores = {
        key: Score(own, max(0.0, own - 0.1), min(1.0, own + 0.1), n, 120, 60)
        for key, own in values.items()
        if own is not None
    }
    tasks = {key.partition("/")[0]: TaskInfo(n, 120, ("image",), ()) for key in METRICS}
    return BenchmarkRecord(
        encoder=name,
        encoder_digest=digest or f"digest-of-{name}",
        dims=8,
        eval_set_digest=eval_set,
        dataset_digest="data",
        side="test",
        num_gallery=120,
        scores=scores,
        tasks=tasks,
        not_applicable=not_applicable or {},
        harness_digest=harness,
    )


def items(own: BenchmarkRecord, hits: dict[str, list[int]] | None = None) -> dict[str, Outcome]:
    """Values of single items that go with a record: the first items are the right ones, unless `hits` names others.

    One group an item. The macro accuracy over attributes has none of its own.
    """
    found = {}
    for key, score in {**own.scores, **own.slices}.items():
        if key.endswith("_macro") or not 0.0 <= score.value <= 1.0:
            continue
        values = np.zeros(score.n)
        values[(hits or {}).get(key, list(range(round(score.value * score.n))))] = 1.0
        names = tuple(f"item-{row}" for row in range(score.n))
        found[key] = Outcome(names, names, values)
    return found


def sliced(own: BenchmarkRecord, metric: str, **slices: tuple[float, int]) -> BenchmarkRecord:
    """With slices of a metric by category: name -> value, n."""
    parts = {f"{metric}[category={name}]": Score(value, 0.0, 1.0, n, 120, n) for name, (value, n) in slices.items()}
    return replace(own, slices={**own.slices, **parts})
