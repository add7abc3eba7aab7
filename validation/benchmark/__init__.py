"""Zero-shot tests of any encoder that keeps the Embedder protocol."""

from validation.benchmark.building import build_eval_set
from validation.benchmark.confusion import Confusion, Confusions
from validation.benchmark.evalset import EvalQuery, EvalSet, LabelTask, RetrievalTask
from validation.benchmark.gallery import (
    GalleryHit,
    GalleryRow,
    gallery_and_failures,
    retrieval_gallery,
    worst_failures,
)
from validation.benchmark.harness import harness_digest
from validation.benchmark.record import BenchmarkRecord, Score, TaskInfo
from validation.benchmark.run import judge, run_benchmark
from validation.benchmark.table import (
    MAIN_METRICS,
    SHOWN_METRICS,
    main_metrics,
    main_part,
    main_score,
    score_table,
    shown,
)

__all__ = [
    "MAIN_METRICS",
    "SHOWN_METRICS",
    "BenchmarkRecord",
    "Confusion",
    "Confusions",
    "EvalQuery",
    "EvalSet",
    "GalleryHit",
    "GalleryRow",
    "LabelTask",
    "RetrievalTask",
    "Score",
    "TaskInfo",
    "build_eval_set",
    "gallery_and_failures",
    "harness_digest",
    "judge",
    "main_metrics",
    "main_part",
    "main_score",
    "retrieval_gallery",
    "run_benchmark",
    "score_table",
    "shown",
    "worst_failures",
]
