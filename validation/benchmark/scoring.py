"""Right and wrong answers to scores with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from catalog.errors import ModelError
from validation.benchmark.evalset import TITLE_HIDDEN, EvalQuery, EvalSet, LabelTask, RetrievalTask
from validation.benchmark.harness import harness_digest
from validation.benchmark.questions import NEEDS_TEXT
from validation.benchmark.record import BenchmarkRecord, Score, TaskInfo
from validation.config import BenchmarkConfig
from validation.search.ranks import ranks_of_best
from validation.statistics.intervals import macro_interval
from validation.statistics.outcomes import Outcome


class Scoring:
    """Collects the scores of one judgement; knows nothing of encoders."""

    def __init__(self, cfg: BenchmarkConfig, eval_set: EvalSet) -> None:
        self._cfg = cfg
        self._set = eval_set
        self.scores: dict[str, Score] = {}
        self.slices: dict[str, Score] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.not_applicable: dict[str, str] = dict(eval_set.absent)
        """Begins with what nobody can be asked here, whichever encoder comes."""
        for task in eval_set.retrieval:
            self._leave_out_easy_cut_offs(task, "", [query.relevant for query in task.queries])
            self._leave_out_easy_cut_offs(task, "_group", [query.same_group for query in task.queries])

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
            hits = {f"recall{suffix}@{k}": ranks <= k for k in self._cfg.ks}
            columns |= {
                metric: hit.astype(np.float64)
                for metric, hit in hits.items()
                if f"{task.name}/{metric}" not in self.not_applicable
            }
            if not suffix:
                columns["mrr"] = 1.0 / ranks
        for metric, values in columns.items():
            key = f"{task.name}/{metric}"
            self.scores[key] = self._score([(values, groups)], pool)
            self.outcomes[key] = Outcome(tuple(query.item.query_id for query in task.queries), tuple(groups), values)
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
            ids = tuple(self._set.gallery[index].product.product_id for index in task.items)
            self.outcomes[key] = Outcome(ids, tuple(groups), values)
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

    def _leave_out_easy_cut_offs(self, task: RetrievalTask, suffix: str, answers: list[tuple[int, ...]]) -> None:
        """Where k hits must hold a right product, even a constant encoder would be given recall@k."""
        pool = len(self._set.gallery)
        fewest_wrong = pool - max(len(own) for own in answers)
        for k in self._cfg.ks:
            if k > fewest_wrong:
                why = f"{fewest_wrong} wrong products in the pool of {pool}: {k} hits would always hold a right one"
                self.not_applicable[f"{task.name}/recall{suffix}@{k}"] = why

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
