"""Judge one encoder on one evaluation set."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from catalog.embedder import Embedder, check_vectors
from catalog.labels import argmax_label
from validation.benchmark.evalset import EvalSet, LabelTask
from validation.benchmark.questions import NEEDS_TEXT
from validation.benchmark.record import BenchmarkRecord
from validation.benchmark.scoring import Scoring
from validation.config import BenchmarkConfig
from validation.statistics.outcomes import Outcome

logger = logging.getLogger(__name__)


def run_benchmark(embedder: Embedder, eval_set: EvalSet, cfg: BenchmarkConfig, *, commit: str = "") -> BenchmarkRecord:
    """Ask `embedder` everything `eval_set` holds.

    Products are embedded once for retrieval and once for each distinct set of hidden fields (two for category, two
    for each attribute), photographs included; an encoder may remember what it saw in a photo, by the photo's digest.

    Args:
        embedder: Anything that keeps the protocol. A task that needs a modality it cannot read is reported as not
            applicable.
        eval_set: The frozen questions.
        cfg: Cut-offs, intervals, memory.
        commit: Of the project, for the record.

    Raises:
        ModelError: The encoder broke the protocol: wrong count or width, not finite, not of unit length.
    """
    return judge(embedder, eval_set, cfg, commit=commit)[0]


def judge(
    embedder: Embedder, eval_set: EvalSet, cfg: BenchmarkConfig, *, commit: str = ""
) -> tuple[BenchmarkRecord, dict[str, Outcome]]:
    """As `run_benchmark`, with what became of every single item, by `task/metric`: what paired comparisons need."""
    started = time.perf_counter()
    clock = _Clock(embedder)
    scoring = Scoring(cfg, eval_set)
    _retrieval(embedder, eval_set, clock, scoring)
    answered = _label_answers(embedder, eval_set, clock, scoring)
    scoring.label_scores(answered)
    record = scoring.record(embedder.name, embedder.digest, embedder.dims, commit, clock.milliseconds(started))
    logger.info("%s: %d scores in %.1f s", embedder.name, len(record.scores), record.timings["total_s"])
    return record, scoring.outcomes


class _Clock:
    """Embeds, holds the encoder to the protocol, and keeps the time an item takes."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._seconds: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def embed(self, what: str, call: Callable[[], np.ndarray], ids: Sequence[str]) -> np.ndarray:
        if not ids:
            return np.zeros((0, self._embedder.dims), dtype=np.float32)
        started = time.perf_counter()
        vectors = call()
        self._seconds[what] = self._seconds.get(what, 0.0) + time.perf_counter() - started
        self._counts[what] = self._counts.get(what, 0) + len(ids)
        return check_vectors(vectors, ids, self._embedder.dims, self._embedder.name)

    def milliseconds(self, started: float) -> dict[str, float]:
        per_item = {f"{what}_ms": 1e3 * self._seconds[what] / self._counts[what] for what in sorted(self._counts)}
        return {**per_item, "total_s": time.perf_counter() - started}


def _unread(embedder: Embedder, needs: Iterable[str]) -> str:
    missing = sorted(set(needs) - embedder.modalities)
    return f"{embedder.name} does not read {' or '.join(missing)}" if missing else ""


def _retrieval(embedder: Embedder, eval_set: EvalSet, clock: _Clock, scoring: Scoring) -> None:
    asked = []
    for task in eval_set.retrieval:
        reason = _unread(embedder, task.needs)
        if reason:
            scoring.not_applicable[task.name] = reason
        else:
            asked.append(task)
    if not asked:
        return
    hide, ids = eval_set.retrieval_hide, [item.product.product_id for item in eval_set.gallery]
    products = clock.embed("product", partial(embedder.embed_products, eval_set.gallery, hide), ids)
    for task in asked:
        items = [query.item for query in task.queries]
        vectors = clock.embed("query", partial(embedder.embed_queries, items), [item.query_id for item in items])
        scoring.retrieval_scores(task, vectors, products)


def _label_answers(
    embedder: Embedder, eval_set: EvalSet, clock: _Clock, scoring: Scoring
) -> list[tuple[LabelTask, np.ndarray]]:
    """(n,) bool for each task: right and not tied."""
    reason = _unread(embedder, NEEDS_TEXT)
    if reason:
        scoring.not_applicable |= {task.name: reason for task in eval_set.labels}
        return []
    texts = sorted({label for task in eval_set.labels for label in task.labels})
    labels = dict(zip(texts, clock.embed("label", partial(embedder.embed_labels, texts), texts), strict=True))
    by_hide: dict[frozenset[str], list[LabelTask]] = {}
    for task in eval_set.labels:
        by_hide.setdefault(task.hide, []).append(task)
    answered = []
    for hide, tasks in by_hide.items():
        rows = sorted({index for task in tasks for index in task.items})
        items = [eval_set.gallery[index] for index in rows]
        vectors = clock.embed(
            "product",
            partial(embedder.embed_products, items, hide),
            [item.product.product_id for item in items],
        )
        place = {index: row for row, index in enumerate(rows)}
        for task in tasks:
            own = vectors[[place[index] for index in task.items]]
            best, tied = argmax_label(own, np.stack([labels[text] for text in task.labels]))
            right = [not t and int(b) in a for b, t, a in zip(best, tied, task.answers, strict=True)]
            answered.append((task, np.asarray(right)))
    return answered
