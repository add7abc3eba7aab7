"""Judge one encoder on one evaluation set."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from catalog.embedder import Embedder, check_vectors
from catalog.errors import ModelError
from catalog.labels import argmax_label
from validation.benchmark.evalset import TITLE_HIDDEN, EvalQuery, EvalSet, LabelTask, RetrievalTask
from validation.benchmark.harness import harness_digest
from validation.benchmark.intervals import macro_interval
from validation.benchmark.questions import NEEDS_TEXT
from validation.benchmark.ranking import ranks_of_best
from validation.benchmark.record import BenchmarkRecord, Score, TaskInfo
from validation.config import BenchmarkConfig

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
    started = time.perf_counter()
    clock = _Clock(embedder)
    scoring = Scoring(cfg, eval_set)
    _retrieval(embedder, eval_set, clock, scoring)
    answered = _label_answers(embedder, eval_set, clock, scoring)
    scoring.label_scores(answered)
    record = scoring.record(embedder.name, embedder.digest, embedder.dims, commit, clock.milliseconds(started))
    logger.info("%s: %d scores in %.1f s", embedder.name, len(record.scores), record.timings["total_s"])
    return record


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


class Scoring:
    """Right and wrong answers to scores with intervals; knows nothing of encoders."""

    def __init__(self, cfg: BenchmarkConfig, eval_set: EvalSet) -> None:
        self._cfg = cfg
        self._set = eval_set
        self.scores: dict[str, Score] = {}
        self.slices: dict[str, Score] = {}
        self.not_applicable: dict[str, str] = dict(eval_set.absent)

    def retrieval_scores(self, task: RetrievalTask, queries: np.ndarray, products: np.ndarray) -> None:
        """Ranks of (Q, D) queries among (N, D) products, by exact product and by group."""
        pool, block = len(products), self._cfg.score_block_mib << 20
        groups = [query.group_id for query in task.queries]
        columns: dict[str, np.ndarray] = {}
        for suffix, answers in (
            ("", [query.relevant for query in task.queries]),
            ("_group", [query.same_group for query in task.queries]),
        ):
            try:
                ranks = ranks_of_best(queries, products, answers, block_bytes=block)
            except ValueError as error:
                raise ModelError("scores cannot be ranked", where=task.name, got=str(error)) from None
            fewest_wrong = pool - max(len(own) for own in answers)
            for k in self._cfg.ks:
                key = f"recall{suffix}@{k}"
                if k > fewest_wrong:
                    why = f"{fewest_wrong} wrong products in the pool of {pool}: {k} hits would always hold a right one"
                    self.not_applicable[f"{task.name}/{key}"] = why
                else:
                    columns[key] = (ranks <= k).astype(np.float64)
            if not suffix:
                columns["mrr"] = 1.0 / ranks
        for metric, values in columns.items():
            key = f"{task.name}/{metric}"
            self.scores[key] = self._score([(values, groups)], pool)
            if metric.startswith("recall@"):
                self._slice(key, values, groups, pool, self._query_slices(task))

    def label_scores(self, answered: Sequence[tuple[LabelTask, np.ndarray]]) -> None:
        """Accuracy of each label task, and the macro mean over attributes with the title shown and hidden."""
        macro: dict[str, list[tuple[np.ndarray, list[str]]]] = {}
        pools: dict[str, list[int]] = {}
        for task, right in answered:
            groups = [self._set.gallery[index].product.group_id for index in task.items]
            values, key = right.astype(np.float64), f"{task.name}/accuracy"
            self.scores[key] = self._score([(values, groups)], len(task.labels))
            where = ["word_in_title" if told else "word_not_in_title" for told in task.in_title]
            self._slice(key, values, groups, len(task.labels), where)
            if task.family == "attributes":
                family = task.family + (TITLE_HIDDEN if task.name.endswith(TITLE_HIDDEN) else "")
                macro.setdefault(family, []).append((values, groups))
                pools.setdefault(family, []).append(len(task.labels))
        for family, parts in macro.items():
            self.scores[f"{family}/accuracy_macro"] = self._score(parts, min(pools[family]))

    def record(
        self, name: str, digest: str, dims: int, commit: str = "", timings: Mapping[str, float] | None = None
    ) -> BenchmarkRecord:
        """All that was scored, with what was asked."""
        return BenchmarkRecord(
            encoder=name,
            encoder_digest=digest,
            dims=dims,
            eval_set_digest=self._set.digest,
            dataset_digest=self._set.dataset_digest,
            side=self._set.side,
            num_gallery=len(self._set.gallery),
            scores=self.scores,
            slices=self.slices,
            tasks=_task_infos(self._set),
            not_applicable=self.not_applicable,
            notes=self._set.notes,
            timings=dict(timings or {}),
            confidence=self._cfg.confidence,
            harness_digest=harness_digest(),
            commit=commit,
        )

    def _score(self, parts: Sequence[tuple[np.ndarray, Sequence[str]]], pool: int) -> Score:
        low, high = macro_interval(
            parts, num_bootstrap=self._cfg.num_bootstrap, confidence=self._cfg.confidence, seed=self._cfg.seed
        )
        return Score(
            value=float(np.mean([values.mean() for values, _ in parts])),
            low=low,
            high=high,
            n=sum(len(values) for values, _ in parts),
            pool=pool,
            num_groups=len({group for _, groups in parts for group in groups}),
        )

    def _slice(self, key: str, values: np.ndarray, groups: Sequence[str], pool: int, names: Sequence[str]) -> None:
        if len(set(names)) < 2:
            return
        for name in sorted(set(names)):
            rows = [index for index, own in enumerate(names) if own == name]
            own_groups = [groups[index] for index in rows]
            self.slices[f"{key}[{name}]"] = self._score([(values[rows], own_groups)], pool)

    def _query_slices(self, task: RetrievalTask) -> list[str]:
        """Queries in words by whether they name the product; photographs by how many photos the product has."""
        if "image" not in task.needs:
            return ["names_the_product" if query.names_answer else "does_not_name_it" for query in task.queries]
        return [self._photos_of(query) for query in task.queries]

    def _photos_of(self, query: EvalQuery) -> str:
        most = max(len(self._set.gallery[index].photos) for index in query.relevant)
        return "no_photo" if most == 0 else "one_photo" if most == 1 else "several_photos"


def _task_infos(eval_set: EvalSet) -> dict[str, TaskInfo]:
    hidden = tuple(sorted(eval_set.retrieval_hide))
    infos = {
        task.name: TaskInfo(len(task.queries), len(eval_set.gallery), task.needs, hidden, task.query_source, task.note)
        for task in eval_set.retrieval
    }
    for task in eval_set.labels:
        infos[task.name] = TaskInfo(len(task.items), len(task.labels), NEEDS_TEXT, tuple(sorted(task.hide)))
    return infos
