"""What one scores by always giving the most frequent answer of the train side."""

from __future__ import annotations

import hashlib

import numpy as np

from validation.benchmark.evalset import EvalSet
from validation.benchmark.record import BenchmarkRecord
from validation.benchmark.scoring import Scoring
from validation.config import BenchmarkConfig

MAJORITY = "majority"


def label_baselines(eval_set: EvalSet, cfg: BenchmarkConfig = BenchmarkConfig()) -> list[BenchmarkRecord]:
    """Score the predictors that answer label questions without looking: the majority class.

    They have no vectors, so every retrieval task is not applicable.
    """
    scoring = Scoring(cfg, eval_set)
    scoring.not_applicable |= {task.name: "majority predicts labels, it has no vectors" for task in eval_set.retrieval}
    scoring.label_scores(
        [(task, np.array([task.majority in answers for answers in task.answers])) for task in eval_set.labels]
    )
    digest = hashlib.sha256(f"majority:{eval_set.digest}".encode()).hexdigest()
    return [scoring.record(MAJORITY, digest, 0)]
