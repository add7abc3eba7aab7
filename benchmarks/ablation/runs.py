"""What is still to be run, in which order, and for how long.

Seed by seed, every arm once: whenever the work is cut off, no arm has more than one seed more than another.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from benchmarks.ablation.machine import commit, machine, same_code
from benchmarks.ablation.protocol import Setup, differences, flat, is_default
from benchmarks.ablation.results import Row, Rows, pack, write_json
from catalog import ModelError, MoonError
from validation.statistics import Outcome


class Job(BaseModel):
    """One run: everything its process has to know but where the data lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["arm", "baseline", "lr"]
    data: str
    arm: str
    title: str
    seed: int
    fold: int | None
    side: Literal["test", "val"]
    recipe: str
    recipe_digest: str
    data_digest: str
    setup: Setup
    changes: dict[str, tuple[Any, Any]]
    lr_factor: float = 1.0
    lr_tried: int = 1
    new_keys: tuple[str, ...] = ()
    """Keys of the configuration that its recipe was written down without; see `protocol.new_since`."""
    expected_parameters: int | None = None
    """Trainable parameters that were counted beforehand, where the arm was matched by them."""

    @property
    def config_digest(self) -> str:
        return self.setup.digest(self.data_digest, self.new_keys)

    @property
    def name(self) -> str:
        """For a person, and for file names."""
        factor = f"-lr{self.lr_factor:g}" if self.kind == "lr" else ""
        return f"{self.arm}{factor}-{self.seed}"

    def is_done_by(self, row: Row) -> bool:
        """Whether `row` is what this job would make."""
        return self.same_place(row) and row.config_digest == self.config_digest

    def same_place(self, row: Row) -> bool:
        """Whether `row` is of the same arm and seed, under whatever configuration."""
        return row.key == (self.kind, self.data, self.arm, self.seed)


@dataclass(frozen=True)
class Measured:
    """What the process of a run hands back."""

    eval_set_digest: str
    harness_digest: str
    scores: dict[str, tuple[float, int]]
    main_score: float | None
    outcomes: dict[str, Outcome]
    machine: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    trainable: int = 0
    idle: int = 0
    train_s: float = 0.0
    final: dict[str, float] = field(default_factory=dict)


class Run(Protocol):
    """Does a job."""

    def __call__(self, job: Job) -> Measured: ...


@dataclass
class Summary:
    """How a series of runs ended."""

    done: list[Row] = field(default_factory=list)
    skipped: int = 0
    left: list[Job] = field(default_factory=list)
    """Not begun: the budget was used up, or an earlier seed of the arm failed."""
    failed: dict[str, MoonError] = field(default_factory=dict)
    out_of_budget: bool = False


def standing(rows: Sequence[Row], again: bool) -> list[Row]:
    """Rows that count as done: all of them or, where runs are wanted again, those of the code as it is.

    Raises:
        ModelError: Runs are wanted again of code that is in no commit: their rows could not be told from others.
    """
    if not again:
        return list(rows)
    if not (at := commit()) or at.endswith("+"):
        raise ModelError(
            "runs are wanted again of code that no commit holds",
            got=at.removesuffix("+") + " and changes" if at else "no git checkout",
            fix="commit first: rows of other code are told apart by their commit",
        )
    same = {made_at: same_code(made_at) for made_at in {row.commit for row in rows}}
    return [row for row in rows if same[row.commit]]


def missing(jobs: Iterable[Job], rows: Sequence[Row]) -> list[Job]:
    """Jobs without a row, in their order."""
    return [job for job in jobs if not any(job.is_done_by(row) for row in rows)]


def changed(jobs: Iterable[Job], rows: Sequence[Row], recipes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each job whose arm and seed stand in `rows` under another configuration alone.

    Args:
        jobs: What is asked for.
        rows: What is there.
        recipes: Resolved recipes by digest, to say what changed.
    """
    lines = []
    for job in jobs:
        others = [row for row in rows if job.same_place(row)]
        if not others or any(job.is_done_by(row) for row in others):
            continue
        old = recipes.get(others[-1].recipe_digest)
        told = "the data" if others[-1].data_digest != job.data_digest else "a recipe that is no longer known"
        if old is not None:
            was = flat(old) | {key: new for key, (_, new) in others[-1].changes.items()}
            now = {
                key: value
                for key, value in flat(job.setup.plain()).items()
                if not _by_seed(key, job) and (key in was or not is_default(key, value))
            }
            found = differences({key: value for key, value in was.items() if not _by_seed(key, job)}, now)
            named = [f"{key} {before} -> {after}" for key, (before, after) in found.items()]
            told = "; ".join(named[:4]) + (f"; {len(named) - 4} more" if len(named) > 4 else "") or told
        lines.append(f"{job.name}: a row is there, of another configuration ({told}); it is run again")
    return lines


def run_jobs(
    jobs: Sequence[Job],
    rows: Rows,
    results: Path,
    run: Run,
    *,
    budget_s: float | None = None,
    again: bool = False,
    say: Callable[[str], None] = print,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Do what is missing, one run after another; each row is on the disk before the next run begins.

    A run that fails is told and takes the later seeds of its arm with it; the other arms go on.

    Args:
        jobs: In the order wanted.
        rows: Where rows stand and go.
        results: Folder for results by item.
        run: Does one.
        budget_s: No run is begun that would end later than this, by the mean time of the finished ones.
        again: Rows of other code do not count as done. They stay, but the last row of an arm and seed is compared.
        say: Told how it goes.
        clock: Seconds.
    """
    there = rows.read()
    todo = missing(jobs, standing(there, again))
    summary = Summary(skipped=len(jobs) - len(todo))
    started, times = clock(), _times(jobs, there)
    say(f"{len(jobs)} runs, {summary.skipped} of them done before, {len(todo)} to do{_hours(times, len(todo))}")
    for number, job in enumerate(todo, 1):
        if job.arm in summary.failed:
            summary.left.append(job)
            continue
        mean = sum(times) / len(times) if times else 0.0
        if budget_s is not None and clock() - started + mean > budget_s:
            summary.left += todo[number - 1 :]
            summary.out_of_budget = True
            say(
                f"stopped before {job.name}: {(clock() - started) / 60:.0f} min are used, a run takes "
                f"{mean / 60:.1f} min on average, and the budget is {budget_s / 60:.0f} min; the same command goes on"
            )
            break
        fold = "" if job.fold is None else f", fold {job.fold}"
        say(f"[{number}/{len(todo)}] {job.data} {job.name}{fold}{_hours(times, len(todo) - number + 1)}")
        begun, at = clock(), commit()
        try:
            measured = run(job)
        except MoonError as error:
            summary.failed[job.arm] = error
            say(f"{job.name} failed; later seeds of {job.arm} are left out\n{error}")
            continue
        row = _row(job, measured, at, clock() - begun, _free_name(job, rows))
        write_json(results / row.outcomes, pack(measured.outcomes))
        rows.append(row)
        summary.done.append(row)
        times.append(row.total_s)
        score = "n/a" if row.main_score is None else f"{100 * row.main_score:.1f}"
        say(f"    main score {score}, {row.trainable:,} parameters, {row.total_s / 60:.1f} min")
    return summary


def _free_name(job: Job, rows: Rows) -> str:
    """For the file of results by item: one that no row which stands has. Rows are taken out by hand, so no count."""
    taken = {row.outcomes for row in rows.read()}
    stem = f"outcomes/{job.data}/{job.kind}-{job.name}-{job.config_digest}"
    names = (f"{stem}{f'-{number}' if number else ''}.json" for number in itertools.count())
    return next(name for name in names if name not in taken)


def _row(job: Job, measured: Measured, at_commit: str, seconds: float, outcomes: str) -> Row:
    return Row(
        kind=job.kind,
        data=job.data,
        arm=job.arm,
        title=job.title,
        seed=job.seed,
        fold=job.fold,
        side=job.side,
        recipe=job.recipe,
        recipe_digest=job.recipe_digest,
        config_digest=job.config_digest,
        changes=job.changes,
        lr_factor=job.lr_factor,
        lr_tried=job.lr_tried,
        commit=at_commit,
        machine=machine() | measured.machine,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        data_digest=job.data_digest,
        eval_set_digest=measured.eval_set_digest,
        harness_digest=measured.harness_digest,
        steps=measured.steps,
        trainable=measured.trainable,
        idle=measured.idle,
        train_s=round(measured.train_s, 1),
        # A run that went on from a checkpoint was begun before.
        total_s=round(max(seconds, measured.train_s), 1),
        main_score=measured.main_score,
        scores=measured.scores,
        final=measured.final,
        outcomes=outcomes,
    )


def _times(jobs: Sequence[Job], rows: Sequence[Row]) -> list[float]:
    """Seconds of comparable runs: of the same recipe, on a processor like this one."""
    kinds = {(job.kind, job.recipe_digest) for job in jobs}
    here = machine()["cpu"]
    return [row.total_s for row in rows if (row.kind, row.recipe_digest) in kinds and row.machine.get("cpu") == here]


def _by_seed(key: str, job: Job) -> bool:
    """What differs from seed to seed by design is no change of configuration."""
    return key == "train.seed" or (job.fold is not None and key.startswith("split."))


def _hours(times: Sequence[float], count: int) -> str:
    if not times or not count:
        return ""
    minutes = sum(times) / len(times) * count / 60
    return f", about {minutes / 60:.1f} h left" if minutes >= 90 else f", about {max(minutes, 1):.0f} min left"
