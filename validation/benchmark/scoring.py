"""Right and wrong answers to scores with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from catalog.errors import ModelError
from validation.benchmark.columns import Columns
from validation.benchmark.confusion import Confusions, confusions
from validation.benchmark.evalset import TITLE_HIDDEN, EvalQuery, EvalSet, LabelTask, RetrievalTask, Traits
from validation.benchmark.harness import harness_digest
from validation.benchmark.label_answers import LabelAnswers
from validation.benchmark.metrics import ranking_metrics
from validation.benchmark.questions import LEAF, NEEDS_TEXT, PHOTO_LABEL
from validation.benchmark.record import BenchmarkRecord, Cost, Score, TaskInfo
from validation.benchmark.traits import masks
from validation.config import BenchmarkConfig
from validation.search.ranks import ranks_of_relevant
from validation.statistics.intervals import macro_interval
from validation.statistics.outcomes import DIGITS, Outcome

_SLICED = ("recall@", "accuracy", "mrr", "mean_rank")
"""Metrics that are given by slice too."""
_OVER_THE_POOL = ("mrr", "map", "mean_rank")
"""Retrieval metrics without a cut-off."""
_COLUMNS_KEPT = 4
"""Resamples of so many lists of groups are held; the twins and neighbours of a task come right after it."""


class Scoring:
    """Collects the scores of one judgement; knows nothing of encoders."""

    def __init__(self, cfg: BenchmarkConfig, eval_set: EvalSet) -> None:
        self._cfg = cfg
        self._set = eval_set
        self.scores: dict[str, Score] = {}
        self.slices: dict[str, Score] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.confusions: list[Confusions] = []
        self.not_applicable: dict[str, str] = dict(eval_set.absent)
        """Begins with what nobody can be asked here, whichever encoder comes."""
        self._columns: dict[tuple[str, ...], Columns] = {}
        for task in eval_set.retrieval:
            self._leave_out_what_proves_nothing(task)

    def retrieval_scores(self, task: RetrievalTask, queries: np.ndarray, products: np.ndarray) -> None:
        """Score (Q, D) queries against the (N, D) products of the whole gallery."""
        pool = self._set.pool_of(task)
        place = {index: row for row, index in enumerate(pool)}
        candidates = products if len(pool) == len(products) else products[list(pool)]

        def ranks(answers: list[tuple[int, ...]]) -> list[np.ndarray]:
            try:
                return ranks_of_relevant(
                    queries,
                    candidates,
                    [[place[index] for index in own] for own in answers],
                    excluded=[[place[index] for index in query.excluded if index in place] for query in task.queries],
                    block_mib=self._cfg.score_block_mib,
                )
            except ValueError as error:
                raise ModelError("scores cannot be ranked", where=task.name, got=str(error)) from None

        values = ranking_metrics(ranks([query.relevant for query in task.queries]), self._cfg.ks)
        by_group = ranking_metrics(ranks([query.same_group for query in task.queries]), self._cfg.ks)
        values |= {f"recall_group@{k}": by_group[f"recall@{k}"] for k in self._cfg.ks}
        self._add(
            task.name,
            {metric: own for metric, own in values.items() if f"{task.name}/{metric}" not in self.not_applicable},
            ids=tuple(query.query_id for query in task.queries),
            groups=tuple(query.group_id for query in task.queries),
            traits=[self._traits_of(query) for query in task.queries],
            pool=len(pool),
        )

    def label_scores(self, answered: Iterable[tuple[LabelTask, LabelAnswers]]) -> None:
        """Scores of each label task, and the macro mean over attributes with the title shown and hidden."""
        macro: dict[str, list[tuple[np.ndarray, tuple[str, ...]]]] = {}
        pools: dict[str, list[int]] = {}
        for task, answers in answered:
            ids, groups = self._ids_and_groups(task)
            values = answers.metrics(task)
            self._add(task.name, values, ids, groups, self._label_traits(task), len(task.labels))
            columns, (true, given) = self._columns_of(groups), answers.tables(task)
            for metric, (value, (low, high)) in columns.macro_scores(true, given).items():
                self.scores[f"{task.name}/{metric}"] = Score(
                    value, low, high, len(ids), len(task.labels), len(set(groups))
                )
            if task.name.removesuffix(TITLE_HIDDEN) == LEAF and task.paths:
                self.confusions.append(confusions(task, answers))
            if task.family == "attributes":
                family = task.family + (TITLE_HIDDEN if task.name.endswith(TITLE_HIDDEN) else "")
                macro.setdefault(family, []).append((values["accuracy"], groups))
                pools.setdefault(family, []).append(len(task.labels))
        for family, parts in macro.items():
            self.scores[f"{family}/accuracy_macro"] = self._macro(parts, min(pools[family]))

    def record(
        self,
        name: str,
        digest: str,
        dims: int,
        commit: str = "",
        timings: Mapping[str, float] | None = None,
        cost: Cost = Cost(),
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
            tasks=task_infos(self._set),
            not_applicable=self.not_applicable,
            notes=self._set.notes,
            confusions=tuple(self.confusions),
            timings=dict(timings or {}),
            num_parameters=cost.num_parameters,
            model_bytes=cost.model_bytes,
            peak_memory_mib=cost.peak_memory_mib,
            confidence=self._cfg.confidence,
            harness_digest=harness_digest(),
            commit=commit,
        )

    def _add(
        self,
        task: str,
        values: Mapping[str, np.ndarray],
        ids: tuple[str, ...],
        groups: tuple[str, ...],
        traits: Sequence[Mapping[str, str]],
        pool: int,
    ) -> None:
        columns = self._columns_of(groups)
        self.scores |= {f"{task}/{metric}": score for metric, score in columns.scores(values, pool).items()}
        # Kept as they are written, or a stored encoder would differ in the seventh digit from itself scored anew.
        kept = {metric: np.round(own, DIGITS) for metric, own in values.items()}
        self.outcomes |= {f"{task}/{metric}": Outcome(ids, groups, own) for metric, own in kept.items()}
        sliced = {metric: own for metric, own in values.items() if metric.startswith(_SLICED)}
        parts = masks(traits)
        found = columns.slices(sliced, pool, parts)
        for name, mask in parts.items():
            self.slices |= {f"{task}/{metric}[{name}]": score for metric, score in found[name].items()}
            rows = np.flatnonzero(mask).tolist()
            own_ids, own_groups = (tuple(of[row] for row in rows) for of in (ids, groups))
            for metric in sliced:
                self.outcomes[f"{task}/{metric}[{name}]"] = Outcome(own_ids, own_groups, kept[metric][mask])

    def _columns_of(self, groups: tuple[str, ...]) -> Columns:
        """Tasks over the same items share their resamples."""
        own = self._columns.pop(groups, None) or Columns(groups, self._cfg)
        self._columns[groups] = own
        if len(self._columns) > _COLUMNS_KEPT:
            del self._columns[next(iter(self._columns))]
        return own

    def _macro(self, parts: Sequence[tuple[np.ndarray, Sequence[str]]], pool: int) -> Score:
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

    def _leave_out_what_proves_nothing(self, task: RetrievalTask) -> None:
        """Where k hits must hold a right product, even a constant encoder would be given recall@k."""
        pool = len(self._set.pool_of(task))
        for answers, cut in (("relevant", ("recall", "recall_all", "ndcg")), ("same_group", ("recall_group",))):
            fewest_wrong = min(pool - len({*getattr(query, answers), *query.excluded}) for query in task.queries)
            wrong = f"{fewest_wrong} wrong products in the pool of {pool}"
            for k in self._cfg.ks:
                if k > fewest_wrong:
                    why = f"{wrong}: {k} hits would always hold a right one"
                    self.not_applicable |= {f"{task.name}/{metric}@{k}": why for metric in cut}
            if not fewest_wrong and answers == "relevant":
                self.not_applicable |= {
                    f"{task.name}/{metric}": f"{wrong} for some query: any order is right" for metric in _OVER_THE_POOL
                }

    def _traits_of(self, query: EvalQuery) -> dict[str, str]:
        """The query's own traits before those of its first right product."""
        return {**self._product_traits(query.relevant[0]), **dict(query.traits)}

    def _label_traits(self, task: LabelTask) -> list[dict[str, str]]:
        own: Sequence[Traits] = task.traits
        if task.photos:
            return [dict(traits) for traits in own]
        return [{**self._product_traits(index), **dict(traits)} for index, traits in zip(task.items, own, strict=True)]

    def _product_traits(self, index: int) -> dict[str, str]:
        return dict(self._set.traits[index]) if self._set.traits else {}

    def _ids_and_groups(self, task: LabelTask) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if task.photos:
            photos = [task.photos[index] for index in task.items]
            # The same picture under two names is one piece of evidence.
            groups = tuple(item.photo.digest if item.photo else item.query_id for item in photos)
            return tuple(item.query_id for item in photos), groups
        products = [self._set.gallery[index].product for index in task.items]
        return tuple(p.product_id for p in products), tuple(p.group_id for p in products)


def task_infos(eval_set: EvalSet) -> dict[str, TaskInfo]:
    """What each task asks, the same for every encoder."""
    infos = {}
    for task in eval_set.retrieval:
        pool, hidden = len(eval_set.pool_of(task)), tuple(sorted(task.hide))
        infos[task.name] = TaskInfo(len(task.queries), pool, task.needs, hidden, task.query_source, task.note)
    for label_task in eval_set.labels:
        needs = ("image", *NEEDS_TEXT) if label_task.family == PHOTO_LABEL else NEEDS_TEXT
        hidden = tuple(sorted(label_task.hide))
        infos[label_task.name] = TaskInfo(len(label_task.items), len(label_task.labels), needs, hidden)
    return infos
