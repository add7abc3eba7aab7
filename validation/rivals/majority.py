"""What one scores by always giving the most frequent answer of the train side."""

from __future__ import annotations

import hashlib

from validation.benchmark.evalset import EvalSet
from validation.benchmark.label_answers import majority_answer
from validation.benchmark.record import BenchmarkRecord
from validation.benchmark.scoring import Scoring
from validation.config import BenchmarkConfig
from validation.statistics.outcomes import Outcome

MAJORITY = "majority"


def judge_majority(
    eval_set: EvalSet, cfg: BenchmarkConfig = BenchmarkConfig()
) -> tuple[BenchmarkRecord, dict[str, Outcome]]:
    """Score the majority class, with every item's result. It has no vectors: no retrieval task is applicable."""
    scoring = Scoring(cfg, eval_set)
    scoring.not_applicable |= {task.name: "majority predicts labels, it has no vectors" for task in eval_set.retrieval}
    scoring.label_scores([(task, majority_answer(task)) for task in eval_set.labels])
    digest = hashlib.sha256(f"{MAJORITY}:{eval_set.digest}".encode()).hexdigest()
    return scoring.record(MAJORITY, digest, 0), scoring.outcomes
