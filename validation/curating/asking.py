"""From a curated catalogue to the set that is asked: built, capped, and proven to hold no query's picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from catalog.images import ImageLimits
from catalog.likeness import fingerprint, near_identical_pairs
from catalog.parallel import map_in_order
from catalog.splits import Side
from validation.benchmark.building import build_eval_set
from validation.benchmark.evalset import AUGMENTED, EvalSet, RetrievalTask
from validation.config import BenchmarkConfig
from validation.curating.balance import draw
from validation.curating.config import CuratingConfig
from validation.curating.curate import Curated
from validation.curating.findings import Found, Rule, found
from validation.errors import BenchmarkError


def build_curated_set(
    curated: Curated, benchmark: BenchmarkConfig, cfg: CuratingConfig, limits: ImageLimits = ImageLimits()
) -> tuple[EvalSet, tuple[Found, ...]]:
    """Build the evaluation set of the test side and keep to what curating promises.

    `build_eval_set` takes the queries' photos out of the gallery. Here every pair of a query's photo and a gallery
    photo, of whatever product, is compared once more under the curating thresholds.

    Returns:
        The set, and everything that was found on the way to it.

    Raises:
        BenchmarkError: There is nothing to ask.
        ImageError: A file changed since it was ingested.
    """
    built = build_eval_set(curated.catalog, curated.splits, benchmark, Side.TEST)
    apart, in_gallery = _without_gallery_photos(built, cfg, limits)
    capped, beyond = _with_fewer_queries(apart, cfg)
    if not capped.retrieval and not capped.labels:
        raise BenchmarkError(
            "there is nothing to ask",
            where=f"{len(capped.gallery)} products of the test side",
            got="; ".join(f"{task}: {reason}" for task, reason in capped.absent),
            fix="use a larger catalogue, or one with photos, descriptions, categories or a log",
        )
    return capped, (*curated.findings, in_gallery, beyond)


def _without_gallery_photos(eval_set: EvalSet, cfg: CuratingConfig, limits: ImageLimits) -> tuple[EvalSet, Found]:
    sold = {photo.digest: photo for item in eval_set.gallery for photo in item.photos}
    asked = {
        photo.digest: photo
        for task in eval_set.retrieval
        if not _is_augmented(task)
        for query in task.queries
        for photo in query.photos
    }
    photos = [*sold.values(), *asked.values()]
    prints = list(map_in_order(lambda photo: fingerprint(photo.load(limits)), photos, cfg.num_workers))
    leaking: dict[str, str] = {}
    for i, j in near_identical_pairs(prints, cfg.near_identical_frac, cfg.near_identical_levels):
        for one, other in zip(i.tolist(), j.tolist(), strict=True):
            if one < len(sold) <= other:
                leaking.setdefault(photos[other].digest, photos[one].digest)
    names = set()
    tasks = []
    for task in eval_set.retrieval:
        bad = {
            query.query_id: leaking[photo.digest]
            for query in task.queries
            for photo in query.photos
            if not _is_augmented(task) and photo.digest in leaking
        }
        names |= {f"{key}: {digest[:12]}" for key, digest in bad.items()}
        tasks.append(replace(task, queries=tuple(query for query in task.queries if query.query_id not in bad)))
    return _with_tasks(eval_set, tasks, "every query's photo is in the gallery"), found(
        Rule.QUERY_PHOTO_IN_GALLERY,
        "queries have a photo that is still in the gallery of the built set; dropped",
        names,
    )


def _with_fewer_queries(eval_set: EvalSet, cfg: CuratingConfig) -> tuple[EvalSet, Found]:
    """At most `max_queries` a task, drawn by hash: the twins of a task keep the same queries."""
    tasks, gone = [], set()
    for task in eval_set.retrieval:
        order = sorted(task.queries, key=lambda query: draw(cfg.salt, query.query_id))
        kept = {query.query_id for query in order[: cfg.max_queries]}
        gone |= {query.query_id for query in task.queries} - kept
        tasks.append(replace(task, queries=tuple(query for query in task.queries if query.query_id in kept)))
    return _with_tasks(eval_set, tasks, "no query"), found(
        Rule.QUERY_CAP, "queries lie beyond a task's cap; not asked", gone
    )


def _with_tasks(eval_set: EvalSet, tasks: Iterable[RetrievalTask], why_empty: str) -> EvalSet:
    tasks = tuple(tasks)
    empty = tuple((task.name, why_empty) for task in tasks if not task.queries)
    return replace(eval_set, retrieval=tuple(task for task in tasks if task.queries), absent=(*eval_set.absent, *empty))


def _is_augmented(task: RetrievalTask) -> bool:
    return AUGMENTED in task.name
