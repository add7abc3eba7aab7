"""Starts the processes of a training on one machine, speaks for them, and leaves none behind.

    train(num_processes=4)                              the first machine: this process, and ranks 0 to 3
    python -m models.training.distributed JOB --node 1  every other machine, where train.num_nodes is above 1

The processes are fresh interpreters, so that a GPU or a thread pool of this one is none of theirs. What they cannot
be handed, the logger and the score, stays here: they write what is to be logged and scored into the job's folder.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch.loggers import Logger

from catalog import ConfigError, Embedder, ModelError
from models.backbones import picture_layout
from models.config import TrainConfig
from models.devices import choose_device
from models.encoder import MoonEncoder
from models.folder import read_model_folder
from models.pictures import PictureMaker
from models.processor import Processor
from models.training.job import JobFolder, Task, error_of_dict, write_job, write_json
from models.training.record import TrainingRecord
from models.training.signals import EXIT_STATUS, TrainingStoppedError

_log = logging.getLogger(__name__)
POLL_S = 0.1
GRACE_S = 20.0
"""After one process failed the others wait for it in vain; they have so long to notice."""
STOP_GRACE_S = 300.0
"""After one process ended on SIGTERM: the others may still be writing."""
ADDRESS, PORT = "MASTER_ADDR", "MASTER_PORT"
LOG_TAIL_CHARS = 2000


def check_devices(train: TrainConfig) -> None:
    """Refuse more processes than this machine has devices.

    Raises:
        ConfigError: It has fewer GPUs, or the other machines are not told where the first one is.
        ModelError: A GPU was asked for and there is none.
    """
    device, _ = choose_device(train.device)
    if device.type == "cuda" and torch.cuda.device_count() < train.num_processes:
        raise ConfigError(
            "more training processes than GPUs on this machine",
            where="train.num_processes",
            got=str(train.num_processes),
            allowed=f"at most {torch.cuda.device_count()}",
            fix="lower it, spread the training over more machines with train.num_nodes, or set train.device: cpu",
        )
    missing = [name for name in (ADDRESS, PORT) if not os.environ.get(name)]
    if train.num_nodes > 1 and missing:
        raise ConfigError(
            "a training on several machines needs a place to meet",
            where="environment",
            got=", ".join(f"{name} is not set" for name in missing),
            fix=f"set {ADDRESS} to the name of the first machine and {PORT} to a free port of it, on every machine",
        )


def launch(task: Task, logger: Logger | None, score: Callable[[Embedder], float] | None) -> TrainingRecord:
    """Train in several processes.

    Args:
        task: What to train.
        logger: Gets the curves.
        score: Asked for the early stop, and for the finished model.

    Raises:
        MoonError: What stopped a process, as that process told it.
        TrainingStoppedError: SIGTERM came to this process or to one of them.
        RuntimeError: A process failed by a fault of ours; its traceback is the message.
    """
    folder = write_job(task, scored=score is not None)
    _log.info("%d processes train on this machine; what each says: %s", task.train.num_processes, folder.path)
    if task.train.num_nodes > 1:
        _log.info(
            "start on each of the other %d machines, N from 1 on, with the same %s and %s: "
            "python -m models.training.distributed %s --node N",
            task.train.num_nodes - 1,
            ADDRESS,
            PORT,
            folder.path,
        )
    relay = _Relay(folder, task, logger, score)
    with Workers(folder, task.train, node=0) as workers:
        workers.wait(relay.poll)
    shutil.rmtree(folder.judged, ignore_errors=True)
    told = json.loads(folder.record.read_text(encoding="utf-8"))
    record = TrainingRecord(**told)
    return replace(record, score=score(relay.encoder(task.out_dir))) if score is not None else record


class Workers:
    """The processes of this machine, as a scope: none of them is alive after it.

    Args:
        folder: Their job.
        train: How many there are.
        node: Number of this machine.
    """

    def __init__(self, folder: JobFolder, train: TrainConfig, node: int) -> None:
        self.folder, self.train, self.node = folder, train, node
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = False

    def __enter__(self) -> Workers:
        for local in range(self.train.num_processes):
            rank = self.node * self.train.num_processes + local
            with self.folder.log(rank).open("wb") as log:
                self._processes[rank] = subprocess.Popen(
                    [sys.executable, "-m", "models.training.distributed", str(self.folder.path)],
                    env=self._environment(rank, local),
                    # Its end tells the process that this one is gone, however it went.
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # A group of its own, so that its data workers can be ended with it, and Ctrl-C comes here alone.
                    start_new_session=True,
                )
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                _kill(process)
        for process in self._processes.values():
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def wait(self, meanwhile: Callable[[], None]) -> None:
        """Until all have ended.

        Args:
            meanwhile: Called again and again, and once at the end.

        Raises:
            MoonError, RuntimeError: Why one of them failed.
        """
        with self._forwarding_sigterm():
            deadline: float | None = None
            while any(process.poll() is None for process in self._processes.values()):
                meanwhile()
                failed = [one.returncode for one in self._processes.values() if one.poll() not in (None, 0)]
                if failed and deadline is None:
                    stopped = all(code == EXIT_STATUS for code in failed)
                    deadline = time.monotonic() + (STOP_GRACE_S if stopped else GRACE_S)
                if deadline is not None and time.monotonic() > deadline:
                    break
                time.sleep(POLL_S)
            meanwhile()
        self._tell_failure()

    def _tell_failure(self) -> None:
        codes = {rank: process.poll() for rank, process in self._processes.items()}
        if all(code == 0 for code in codes.values()):
            return
        told = sorted((self._error(rank) for rank in codes), key=lambda one: float(one.get("time_s", "inf")))
        for one in told:
            # Of several, the user's own mistake: the others only lost their partner.
            if "problem" in one:
                raise error_of_dict(one)
        died = {rank: -code for rank, code in codes.items() if code is not None and code < 0}
        if self._stopping and all(number == signal.SIGTERM for number in died.values()):
            raise TrainingStoppedError(
                "the training was stopped by SIGTERM before its first step",
                where=str(self.folder.path.parent),
                fix="start it again with the same working folder",
            )
        if died:
            rank, number = next(iter(died.items()))
            raise ModelError(
                f"training process {rank} was ended by {signal.Signals(number).name}",
                where=str(self.folder.log(rank)),
                fix="most often memory ran out: lower train.batch_size, or set train.chunk_tokens or "
                "train.gradient_checkpointing, and train from the start in another working folder",
            )
        rank = next(rank for rank, code in codes.items() if code != 0)
        trace = next((one["traceback"] for one in told if "traceback" in one), self._tail(rank))
        raise RuntimeError(f"a training process failed:\n{trace}")

    def _error(self, rank: int) -> dict[str, str]:
        try:
            told: dict[str, str] = json.loads(self.folder.error(rank).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told

    def _tail(self, rank: int) -> str:
        return self.folder.log(rank).read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:]

    def _environment(self, rank: int, local: int) -> dict[str, str]:
        num, nodes = self.train.num_processes, self.train.num_nodes
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = str(self.train.num_threads or max(1, cores // num))
        return {
            "OMP_NUM_THREADS": threads,
            **os.environ,
            # They shall find what this process found, wherever it was started.
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "RANK": str(rank),
            "LOCAL_RANK": str(local),
            "GROUP_RANK": str(self.node),
            "WORLD_SIZE": str(num * nodes),
            "LOCAL_WORLD_SIZE": str(num),
        }

    @contextmanager
    def _forwarding_sigterm(self) -> Iterator[None]:
        def forward(signum: int, frame: FrameType | None) -> None:
            self._stopping = True
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, forward)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


class _Relay:
    """Logs and scores for processes that cannot."""

    def __init__(
        self, folder: JobFolder, task: Task, logger: Logger | None, score: Callable[[Embedder], float] | None
    ) -> None:
        self.folder, self.task, self.logger, self.score = folder, task, logger, score
        self._lines, self._rows = _Tail(folder.log(0)), _Tail(folder.metrics)

    def poll(self) -> None:
        """Pass on what is new."""
        for line in self._lines.new():
            level, _, text = line.partition(" ")
            # What is not a line of ours (a library's print) is left in the file.
            if level in ("INFO", "WARNING", "ERROR"):
                _log.log(logging.getLevelNamesMapping()[level], text)
        for line in self._rows.new():
            row = json.loads(line)
            if self.logger is not None:
                self.logger.log_metrics(row["metrics"], step=row["step"])
        if self.folder.ask.exists():
            self.folder.ask.unlink()
            assert self.score is not None
            write_json(self.folder.answer, {"score": float(self.score(self.encoder(self.folder.judged)))})

    def encoder(self, folder: Path) -> MoonEncoder:
        """The model of a folder, with the core regions that this process found before."""
        found = read_model_folder(folder)
        spec = found.model.backbone.spec()
        side_px = picture_layout(found.config, spec).side_px
        pictures = PictureMaker(side_px, self.task.regions if found.config.crops != "none" else None, self.task.limits)
        processor = Processor.of(found.tokenizer, found.config, pictures, spec)
        device, _ = choose_device(self.task.train.device)
        return MoonEncoder(found.model, processor, found.digest, found.lineage, device)


class _Tail:
    """Whole lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self.path, self._place, self._rest = path, 0, b""

    def new(self) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as stream:
            stream.seek(self._place)
            data = stream.read()
        self._place += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", errors="replace") for line in lines if line]


def _kill(process: subprocess.Popen[Any]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
