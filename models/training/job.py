"""A training as plain files, so that processes started afresh can take part in it.

<work folder>/job/   catalog/      tables of the catalogue; photographs stay where they are
                     regions.parquet   candidates of core regions, where some were found before
                     job.json      splits, configurations, places
                     meeting       where the processes of one machine find each other
                     rank-0.log    what each process says
                     error-0.json  why one failed
                     metrics.jsonl rows for the logger of the process that started them
                     ask.json, answer.json   a model to be scored, and its score
                     record.json   what the training leaves behind
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from catalog import (
    Catalog,
    ImageLimits,
    ModelError,
    MoonError,
    Query,
    Side,
    Splits,
    StorageError,
    read_catalog,
    write_catalog,
)
from models.config import ModelConfig, TrainConfig
from models.regions import CoreRegions, RegionsConfig, RegionStore, make_chooser, make_detector
from models.regions.store import FILE_NAME

FOLDER = "job"


@dataclass(frozen=True)
class Task:
    """What `train` was asked for, without what only the asking process can do: to log and to score."""

    catalog: Catalog
    splits: Splits
    model: ModelConfig
    train: TrainConfig
    regions: CoreRegions
    regions_config: RegionsConfig
    work_dir: Path
    out_dir: Path
    lineage: dict[str, str] = field(default_factory=dict)
    limits: ImageLimits = field(default_factory=ImageLimits)
    features_dir: Path | None = None


@dataclass(frozen=True)
class JobFolder:
    """The files of a job."""

    path: Path

    @property
    def catalog(self) -> Path:
        return self.path / "catalog"

    @property
    def job(self) -> Path:
        return self.path / "job.json"

    @property
    def meeting(self) -> Path:
        return self.path / "meeting"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def ask(self) -> Path:
        return self.path / "ask.json"

    @property
    def answer(self) -> Path:
        return self.path / "answer.json"

    @property
    def judged(self) -> Path:
        return self.path / "judged"

    @property
    def record(self) -> Path:
        return self.path / "record.json"

    def log(self, rank: int) -> Path:
        return self.path / f"rank-{rank}.log"

    def error(self, rank: int) -> Path:
        return self.path / f"error-{rank}.json"


def write_job(task: Task, *, scored: bool) -> JobFolder:
    """Write the task into its working folder, in place of an earlier job.

    Args:
        task: With the candidates of its core regions, which its processes need when they decode.
        scored: Whether the starting process answers when it is asked for a score.

    Raises:
        StorageError: The working folder cannot be written.
    """
    folder = JobFolder(task.work_dir.absolute() / FOLDER)
    try:
        shutil.rmtree(folder.path, ignore_errors=True)
        folder.path.mkdir(parents=True)
        write_catalog(task.catalog, str(folder.catalog))
        if task.regions.store is not None:
            task.regions.store.write(folder.path)
        write_json(
            folder.job,
            {
                "root": task.catalog.root,
                "side_of": {key: side.value for key, side in task.splits.side_of.items()},
                "queries": [one.model_dump(mode="json") for one in task.splits.queries.get(Side.TRAIN, ())],
                "dropped": task.splits.dropped,
                "model": task.model.model_dump(mode="json"),
                "train": task.train.model_dump(mode="json"),
                "regions": task.regions_config.model_dump(mode="json"),
                "regions_digest": task.regions.digest,
                "work_dir": str(task.work_dir.absolute()),
                "out_dir": str(task.out_dir.absolute()),
                "lineage": task.lineage,
                "limits": asdict(task.limits),
                "features_dir": str(task.features_dir.absolute()) if task.features_dir is not None else None,
                "scored": scored,
            },
        )
    except OSError as error:
        raise StorageError(
            "the training cannot be handed to its processes",
            where=str(folder.path),
            got=str(error),
            fix="free space, or choose another working folder",
        ) from None
    return folder


def read_job(folder: JobFolder) -> tuple[Task, bool]:
    """The task, and whether a score may be asked for.

    Raises:
        ModelError: There is no job, or core regions are found differently here than where it was written.
    """
    try:
        told: dict[str, Any] = json.loads(folder.job.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            "no training waits here for its processes",
            where=str(folder.job),
            got=str(error),
            fix="start the training on the first machine; it writes this file",
        ) from None
    catalog = replace(read_catalog(str(folder.catalog)), root=told["root"])
    regions_config = RegionsConfig.model_validate(told["regions"])
    regions = CoreRegions(make_detector(regions_config), make_chooser(regions_config))
    if regions.digest != told["regions_digest"]:
        raise ModelError(
            "core regions are found differently by the processes of a training than by the one that started them",
            got=regions.digest[:12],
            allowed=told["regions_digest"][:12],
            fix="hand `train` the detector and chooser that its regions_config makes",
        )
    if (folder.path / FILE_NAME).exists():
        store = RegionStore.read(folder.path)
        regions = CoreRegions(make_detector(regions_config), make_chooser(regions_config), store)
    side_of = {key: Side(side) for key, side in told["side_of"].items()}
    queries = tuple(Query.model_validate(row) for row in told["queries"])
    task = Task(
        catalog,
        Splits(side_of, {Side.TRAIN: queries}, told["dropped"]),
        ModelConfig.model_validate(told["model"]),
        TrainConfig.model_validate(told["train"]),
        regions,
        regions_config,
        Path(told["work_dir"]),
        Path(told["out_dir"]),
        told["lineage"],
        ImageLimits(**told["limits"]),
        Path(told["features_dir"]) if told["features_dir"] is not None else None,
    )
    return task, bool(told["scored"])


def write_json(path: Path, value: Any) -> None:
    """Write a file that appears whole."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)


def error_to_dict(error: MoonError) -> dict[str, str]:
    """A MoonError as plain values."""
    parts = {name: getattr(error, name) for name in ("problem", "where", "got", "allowed", "fix")}
    return {"kind": type(error).__name__, **parts}


def error_of_dict(told: dict[str, str]) -> MoonError:
    """The error that `error_to_dict` was given, of its own kind where that is known here."""
    kinds = {MoonError.__name__: MoonError} | {one.__name__: one for one in _kinds_below(MoonError)}
    kind = kinds.get(told["kind"], MoonError)
    return kind(told["problem"], **{name: told[name] for name in ("where", "got", "allowed", "fix")})


def _kinds_below(kind: type[MoonError]) -> list[type[MoonError]]:
    return [one for direct in kind.__subclasses__() for one in (direct, *_kinds_below(direct))]
