"""Zero-shot tests of any encoder that keeps the Embedder protocol, with trivial rivals under the same harness."""

from validation.benchmark.building import build_eval_set
from validation.benchmark.colour_histogram import ColourHistogram
from validation.benchmark.evalset import EvalQuery, EvalSet, LabelTask, RetrievalTask
from validation.benchmark.gallery import GalleryHit, GalleryRow, retrieval_gallery
from validation.benchmark.harness import harness_digest
from validation.benchmark.majority import label_baselines
from validation.benchmark.outcomes import Difference, Outcome, paired_difference, pooled
from validation.benchmark.record import BenchmarkError, BenchmarkRecord, Score, TaskInfo
from validation.benchmark.rivals import Constant, RandomVectors
from validation.benchmark.run import judge, run_benchmark
from validation.benchmark.table import MAIN_METRICS, main_metrics, main_score, score_table
from validation.benchmark.title_words import TitleWordOverlap

__all__ = [
    "MAIN_METRICS",
    "BenchmarkError",
    "BenchmarkRecord",
    "ColourHistogram",
    "Constant",
    "Difference",
    "EvalQuery",
    "EvalSet",
    "GalleryHit",
    "GalleryRow",
    "LabelTask",
    "Outcome",
    "RandomVectors",
    "RetrievalTask",
    "Score",
    "TaskInfo",
    "TitleWordOverlap",
    "build_eval_set",
    "harness_digest",
    "judge",
    "label_baselines",
    "main_metrics",
    "main_score",
    "paired_difference",
    "pooled",
    "retrieval_gallery",
    "run_benchmark",
    "score_table",
]
