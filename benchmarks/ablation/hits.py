"""The exact product beside any of its group, where a product is searched for: both are told, with how many asked."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.ablation.comparison import ArmRows

TASKS = {"image_to_product": "image", "text_to_product": "text", "both_to_product": "both"}
AT = (1, 10)


def hits(arms: Sequence[ArmRows]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: "exact / group" in per cent and, in brackets, n, a column a task and depth.

    A row's shares were taken over its own items; over seeds and folds they are weighted by how many those are.
    """
    head = ["arm", *(f"{short} R@{depth}" for short in TASKS.values() for depth in AT)]
    return head, [[arm.title, *(_cell(arm, task, depth) for task in TASKS for depth in AT)] for arm in arms]


def _cell(arm: ArmRows, task: str, depth: int) -> str:
    exact, group = _pooled(arm, f"{task}/recall@{depth}"), _pooled(arm, f"{task}/recall_group@{depth}")
    if exact is None or group is None:
        return "n/a"
    return f"{100 * exact[0]:.1f} / {100 * group[0]:.1f} ({exact[1]})"


def _pooled(arm: ArmRows, metric: str) -> tuple[float, int] | None:
    """Share and number of answers; None where a row was not asked."""
    found = [row.scores.get(metric) for row in arm.rows]
    known = [one for one in found if one is not None]
    total = sum(number for _, number in known)
    if len(known) < len(found) or not total:
        return None
    return sum(value * number for value, number in known) / total, total
