"""Small records and outcomes with known numbers."""

from __future__ import annotations

import numpy as np

from validation.benchmark import BenchmarkRecord, Confusion, Confusions, Score, TaskInfo
from validation.gate import Decision, RuleResult
from validation.statistics import Outcome

IMAGE, TEXT, LEAF, MACRO = (
    "image_to_product/recall@1",
    "text_to_product/recall@10",
    "category_leaf_title_hidden/accuracy",
    "attributes_title_hidden/accuracy_macro",
)


def score(value: float, reach: float = 0.1, n: int = 40) -> Score:
    return Score(value, max(0.0, value - reach), min(1.0, value + reach), n, 100, n // 2)


def record(
    encoder: str = "ours",
    scores: dict[str, Score] | None = None,
    slices: dict[str, Score] | None = None,
    confusions: tuple[Confusions, ...] = (),
    **fields: object,
) -> BenchmarkRecord:
    scores = {IMAGE: score(0.5), TEXT: score(0.6)} if scores is None else scores
    tasks = {key.partition("/")[0]: TaskInfo(own.n, own.pool, (), ()) for key, own in scores.items()}
    if MACRO in scores:
        tasks["attribute.color_title_hidden"] = TaskInfo(40, 3, (), ())
        tasks["attribute.size_title_hidden"] = TaskInfo(40, 3, (), ())
        tasks["attribute.color"] = TaskInfo(40, 3, (), ())
    known: dict[str, object] = {
        "encoder_digest": encoder,
        "dims": 8,
        "eval_set_digest": "set",
        "dataset_digest": "data",
        "side": "test",
        "num_gallery": 100,
        "scores": scores,
        "slices": slices or {},
        "tasks": tasks,
        "confusions": confusions,
    }
    return BenchmarkRecord(encoder=encoder, **(known | fields))  # type: ignore[arg-type]


def outcome(values: list[float], prefix: str = "q") -> Outcome:
    ids = tuple(f"{prefix}{number}" for number in range(len(values)))
    return Outcome(ids, ids, np.asarray(values, dtype=np.float64))


def decision(*rules: RuleResult) -> Decision:
    return Decision(
        passed=all(rule.passed for rule in rules),
        rules=rules,
        candidate_digest="ours",
        champion_digest=None,
        eval_set_digest="set",
        main_score=0.55,
        champion_main_score=None,
        policy_digest="policy",
    )


def confused(right: str = "A > B", given: str = "A > C") -> Confusions:
    return Confusions(
        "category_leaf", 9, 4, 3, 1, 2, (Confusion(right, given, 3, True), Confusion("D", given, 1, False))
    )
