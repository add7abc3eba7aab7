"""One run in a process of its own: `python -m benchmarks.ablation.worker ASKED.json ANSWER.json`.

Started by the harness and by nobody else. A process a run: memory is given back whole, threads and caches of one run
never reach the next, and a crash costs one row.
"""

from __future__ import annotations

import ctypes
import json
import logging
import math
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

import catalog as catalogs
import models
from benchmarks.ablation.arms import FULL
from benchmarks.ablation.matching import Count, Match, check_match, count_parameters, fit_late_hidden_size
from benchmarks.ablation.places import Places, SharedPictures, checked, limits_of, picture_key, region_store
from benchmarks.ablation.protocol import Setup
from benchmarks.ablation.results import pack, write_json
from benchmarks.ablation.rivals import judge_baseline
from benchmarks.ablation.runs import Job
from benchmarks.ablation.sources import source_digest
from benchmarks.ablation.true_boxes import TrueCoreRegions
from catalog import Catalog, Embedder, ModelError, MoonError, Side, Splits, split_catalog
from models.encoder import MoonEncoder
from models.regions import CoreRegions, RegionStore, make_chooser, make_detector
from models.training import TrainingRecord
from models.training import train as fit
from validation.benchmark import BenchmarkRecord, build_eval_set, judge, main_part, main_score, run_benchmark
from validation.statistics import Outcome

_log = logging.getLogger(__name__)
FAILED = 3
"""Exit status of a run that ended in an error a user can cause; the answer holds its text."""


def do(job: Job, places: Places, keep_model: bool) -> dict[str, Any]:
    """Do a job and return its measures as plain data."""
    catalog = checked(places, job.setup.split, job.setup.checks)
    splits = split_catalog(catalog, job.setup.split)
    if job.kind == "baseline":
        store = region_store(places, job.setup.regions)
        core = core_regions(job.setup, catalog, store)
        side = Side(job.side)
        limits = limits_of(catalog)
        return judged(*judge_baseline(job.arm, job.setup, job.seed, catalog, splits, side, core, limits))
    return _trained(job, places, catalog, splits, keep_model)


def _trained(job: Job, places: Places, catalog: Catalog, splits: Splits, keep_model: bool) -> dict[str, Any]:
    # A run that was cut off goes on under the code that began it, or begins anew.
    code = source_digest(catalogs, models)[:8]
    setup, folder = job.setup, places.run(f"{job.data}-{job.kind}-{job.name}-{job.config_digest}-{code}")
    core = core_regions(setup, catalog, region_store(places, setup.regions))
    model = count_parameters(setup, catalog, splits, lacks_parts=job.arm != FULL)
    counted = model.count
    if job.expected_parameters not in (None, counted.trainable):
        raise ModelError(
            "the model is not the one that was matched by its parameters",
            where=job.name,
            got=f"{counted.trainable:,} trainable parameters",
            allowed=f"{job.expected_parameters:,}",
            fix="start the same command again: the match is made anew when the configuration or the code changed",
        )
    pictures = SharedPictures(places, picture_key(setup, catalog.digest))
    pictures.lend(folder / "fit")
    record: TrainingRecord = fit(
        catalog,
        splits,
        model=setup.model,
        train=model.train,
        regions=core,
        regions_config=setup.regions,
        work_dir=folder / "fit",
        out_dir=folder / "model",
        score=_stop_score(catalog, splits, setup),
        limits=limits_of(catalog),
        features_dir=places.features,
    )
    pictures.take_back(folder / "fit")
    if record.num_trainable != counted.trainable + counted.idle:
        raise ModelError(
            "parameters were counted otherwise than they were trained",
            where=job.name,
            got=f"{record.num_trainable:,} trained",
            allowed=f"{counted.trainable + counted.idle:,} counted",
            fix="benchmarks.ablation.matching.count_parameters must set a model up as models.training does",
        )
    eval_set = build_eval_set(catalog, splits, setup.benchmark, Side(job.side))
    encoder = MoonEncoder.load(folder / "model", limits=limits_of(catalog), crops=setup.served_crops, regions=core)
    answer = judged(*judge(encoder, eval_set, setup.benchmark))
    shutil.rmtree(folder / "fit", ignore_errors=True)
    if not keep_model:
        shutil.rmtree(folder, ignore_errors=True)
    final = {name: value for name, value in record.final.items() if math.isfinite(value)}
    return answer | {
        "steps": record.steps,
        "trainable": counted.trainable,
        "idle": counted.idle,
        "train_s": record.seconds,
        "final": {name: round(value, 5) for name, value in sorted(final.items())},
        "machine": {"threads": torch.get_num_threads(), "device": record.device, "precision": record.precision},
    }


def _stop_score(catalog: Catalog, splits: Splits, setup: Setup) -> Callable[[Embedder], float] | None:
    """For a recipe that stops early; nothing else here may look at the validation side."""
    if setup.train.stop.eval_every_steps is None or not splits.product_ids(Side.VAL):
        return None
    eval_set = main_part(build_eval_set(catalog, splits, setup.benchmark, Side.VAL))
    return lambda embedder: main_score(run_benchmark(embedder, eval_set, setup.benchmark))


def core_regions(setup: Setup, catalog: Catalog, store: RegionStore) -> CoreRegions:
    """What finds core regions, with what was found before; the true boxes for an arm that is to have them."""
    if setup.boxes == "true":
        return TrueCoreRegions(setup.regions, catalog, store)
    return CoreRegions(make_detector(setup.regions), make_chooser(setup.regions), store)


def judged(record: BenchmarkRecord, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """A judgement as plain data."""
    main = main_score(record)
    return {
        "eval_set_digest": record.eval_set_digest,
        "harness_digest": record.harness_digest,
        "main_score": None if math.isnan(main) else round(main, 6),
        "scores": {name: (round(score.value, 6), score.n) for name, score in sorted(record.scores.items())},
        "outcomes": pack(outcomes),
    }


def match(full: Setup, own: Setup, arm: str, fitted: bool, tolerance_frac: float, places: Places) -> dict[str, Any]:
    """Count full and a rival, and fit the rival where asked."""
    catalog = checked(places, full.split, full.checks)
    splits = split_catalog(catalog, full.split)
    count = partial(count_parameters, catalog=catalog, splits=splits)
    target, width = count(full).count, None
    if fitted:

        def count_at(size: int) -> int:
            return count(_as_wide(own, size), lacks_parts=True).count.trainable

        width = fit_late_hidden_size(count_at, target.trainable, tolerance_frac)
        own = _as_wide(own, width)
    return asdict(check_match(Match(target, count(own, lacks_parts=True).count, width), arm, tolerance_frac))


def read_match(data: dict[str, Any]) -> Match:
    """Read what `match` gave."""
    return Match(Count(**data["full"]), Count(**data["own"]), data["late_hidden_size"])


def _as_wide(setup: Setup, late_hidden_size: int) -> Setup:
    return setup.model_copy(update={"model": setup.model.model_copy(update={"late_hidden_size": late_hidden_size})})


def answer_to(asked: dict[str, Any]) -> dict[str, Any]:
    """What the harness asked for, as plain data."""
    places = Places(Path(asked["root"]), Path(asked["catalog"]))
    if asked["what"] == "match":
        full, own = Setup.model_validate(asked["full"]), Setup.model_validate(asked["own"])
        return match(full, own, asked["arm"], asked["fitted"], asked["tolerance_frac"], places)
    return do(Job.model_validate(asked["job"]), places, asked["keep_model"])


def end_with_parent() -> None:
    """Be told to stop when the harness dies, however it dies: an orphan would hold a folder that is needed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG


def main(asked: Path, answer: Path) -> int:
    """Read what is asked, do it, write the answer; the exit status says whether it is one."""
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="    %(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("PIL", "matplotlib", "httpx", "urllib3", "fsspec", "asyncio", "great_expectations"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        write_json(answer, answer_to(json.loads(asked.read_text(encoding="utf-8"))))
    except MoonError as error:
        fields = ("problem", "where", "got", "allowed", "fix")
        write_json(answer, {"error": {name: getattr(error, name) for name in fields}})
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
