"""Judge one encoder on one evaluation set."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from catalog.embedder import Embedder, check_vectors
from catalog.items import QueryItem
from validation.benchmark.evalset import EvalSet, LabelTask, RetrievalTask
from validation.benchmark.label_answers import LabelAnswers, answer
from validation.benchmark.record import BenchmarkRecord, Cost
from validation.benchmark.scoring import Scoring, task_infos
from validation.config import BenchmarkConfig
from validation.statistics.outcomes import Outcome

logger = logging.getLogger(__name__)


def run_benchmark(embedder: Embedder, eval_set: EvalSet, cfg: BenchmarkConfig, *, commit: str = "") -> BenchmarkRecord:
    """Ask `embedder` everything `eval_set` holds.

    Products are embedded once for each distinct set of hidden fields, photographs included (five for retrieval, two
    for category, two for each attribute), queries once; an encoder may remember what it saw in a photo, by the photo's
    digest.

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
    scoring.label_scores(_label_answers(embedder, eval_set, clock, scoring, cfg))
    timings = clock.milliseconds(started)
    record = scoring.record(embedder.name, embedder.digest, embedder.dims, commit, timings, _cost(embedder))
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
    by_hide: dict[frozenset[str], list[RetrievalTask]] = {}
    for task in eval_set.retrieval:
        reason = _unread(embedder, task.needs)
        if reason:
            scoring.not_applicable[task.name] = reason
        else:
            by_hide.setdefault(task.hide, []).append(task)
    asked = {
        query.query_id: query.item
        for tasks in by_hide.values()
        for task in tasks
        for query in task.queries
        if isinstance(query.item, QueryItem)
    }
    queries = clock.embed("query", partial(embedder.embed_queries, list(asked.values())), list(asked))
    query_row = {key: row for row, key in enumerate(asked)}
    ids = [item.product.product_id for item in eval_set.gallery]
    product_row = {key: row for row, key in enumerate(ids)}
    for hide, tasks in by_hide.items():
        products = clock.embed("product", partial(embedder.embed_products, eval_set.gallery, hide), ids)
        for task in tasks:
            if isinstance(task.queries[0].item, QueryItem):
                vectors = queries[[query_row[query.query_id] for query in task.queries]]
            else:
                vectors = products[[product_row[query.query_id] for query in task.queries]]
            scoring.retrieval_scores(task, vectors, products)


def _label_answers(
    embedder: Embedder, eval_set: EvalSet, clock: _Clock, scoring: Scoring, cfg: BenchmarkConfig
) -> Iterator[tuple[LabelTask, LabelAnswers]]:
    infos = task_infos(eval_set)
    by_hide: dict[frozenset[str], list[LabelTask]] = {}
    for task in eval_set.labels:
        reason = _unread(embedder, infos[task.name].needs)
        if reason:
            scoring.not_applicable[task.name] = reason
        else:
            by_hide.setdefault(task.hide, []).append(task)
    texts = sorted({label for tasks in by_hide.values() for task in tasks for label in task.labels})
    labels = dict(zip(texts, clock.embed("label", partial(embedder.embed_labels, texts), texts), strict=True))
    for hide, tasks in by_hide.items():
        rows = sorted({index for task in tasks if not task.photos for index in task.items})
        items = [eval_set.gallery[index] for index in rows]
        ids = [item.product.product_id for item in items]
        products = clock.embed("product", partial(embedder.embed_products, items, hide), ids)
        place = {index: row for row, index in enumerate(rows)}
        for task in tasks:
            if task.photos:
                photos = [task.photos[index] for index in task.items]
                ids = [photo.query_id for photo in photos]
                own = clock.embed("query", partial(embedder.embed_queries, photos), ids)
            else:
                own = products[[place[index] for index in task.items]]
            of_labels = np.stack([labels[text] for text in task.labels])
            yield task, answer(task, own, of_labels, block_mib=cfg.score_block_mib)


def _cost(embedder: Embedder) -> Cost:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(
        num_parameters=getattr(embedder, "num_parameters", None),
        model_bytes=getattr(embedder, "num_bytes", None),
        # Linux counts in KiB, macOS in bytes.
        peak_memory_mib=peak / (1 << 20 if sys.platform == "darwin" else 1 << 10),
    )
