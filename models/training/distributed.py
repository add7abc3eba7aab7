"""One process of several that train together: `python -m models.training.distributed JOB`.

Started by `models.training.launch`, which says in the environment which one it is. With `--node N` it starts the
processes of machine N instead.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import sys
import threading
import time
import traceback
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers.logger import Logger
from torch import distributed

from catalog import Embedder, MoonError
from models.devices import choose_device
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.training.fit import fit
from models.training.job import JobFolder, Task, error_to_dict, read_job, write_json
from models.training.launch import ADDRESS, PORT, Workers, check_devices
from models.training.parameters import merge_lora
from models.training.ranks import Ranks

_log = logging.getLogger(__name__)
PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: while one of them is judged, the others have nothing to do."""
POLL_S = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Take part in a training.

    Returns:
        Exit status; on failure the reason was written into the job's folder.
    """
    parser = argparse.ArgumentParser(prog="python -m models.training.distributed", description=__doc__)
    parser.add_argument("job", type=Path, help="folder that the starting process wrote")
    parser.add_argument("--node", type=int, help="start the processes of this machine, counted from 0")
    chosen = parser.parse_args(arguments)
    folder = JobFolder(chosen.job)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if chosen.node is not None:
        return _start_node(folder, chosen.node)
    _end_with_the_parent()
    ranks = Ranks.of_environment()
    try:
        task, scored = read_job(folder)
        _meet(task, ranks, folder)
        logger = MetricsFile(folder.metrics) if ranks.is_first else None
        record, _ = fit(task, logger=logger, score=ScoreElsewhere(folder, task) if scored else None, ranks=ranks)
        if ranks.is_first:
            write_json(folder.record, record.to_dict())
        # Nobody leaves while the first one writes, so that no connection breaks under it.
        distributed.barrier()
    except MoonError as error:
        _log.error("%s", error)
        write_json(folder.error(ranks.rank), {**error_to_dict(error), "time_s": str(time.time())})
        return error.exit_status
    except Exception:
        # A fault of ours: the starting process, which sees only files, raises it.
        told = traceback.format_exc()
        _log.exception("training process %d failed", ranks.rank)
        write_json(folder.error(ranks.rank), {"traceback": told, "time_s": str(time.time())})
        return 1
    return 0


class MetricsFile(Logger):
    """Rows for the logger of the starting process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration is known to whoever started the training."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": step, "metrics": {name: float(value) for name, value in metrics.items()}}
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


class ScoreElsewhere:
    """Has an encoder scored by the starting process: writes its model, asks, and waits for the answer.

    Args:
        folder: The job's.
        task: For the model folder.
    """

    def __init__(self, folder: JobFolder, task: Task) -> None:
        self.folder, self.task = folder, task

    def __call__(self, embedder: Embedder) -> float:
        assert isinstance(embedder, MoonEncoder)
        model = copy.deepcopy(embedder.model).cpu()
        merge_lora(model)
        regions, tokenizer = self.task.regions, embedder.processor.tokenizer
        write_model_folder(self.folder.judged, model, tokenizer, self.task.regions_config, regions.digest, {})
        self.folder.answer.unlink(missing_ok=True)
        write_json(self.folder.ask, {"digest": embedder.digest})
        while not self.folder.answer.exists():
            time.sleep(POLL_S)
        return float(json.loads(self.folder.answer.read_text(encoding="utf-8"))["score"])


def _meet(task: Task, ranks: Ranks, folder: JobFolder) -> None:
    """Join the process group, before anything else asks for it."""
    device, _ = choose_device(task.train.device)
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    # On one machine a file is enough, and no port can be taken by somebody else.
    place = f"file://{folder.meeting}" if task.train.num_nodes == 1 else None
    if place is None:
        place = f"tcp://{os.environ[ADDRESS]}:{os.environ[PORT]}"
    distributed.init_process_group(
        backend, init_method=place, rank=ranks.rank, world_size=ranks.world, timeout=PATIENCE
    )


def _end_with_the_parent() -> None:
    """A process whose starter was killed would train on, and hold the working folder's files, with nobody to stop it.

    The starter holds the other end of this process's standard input and never writes.
    """

    def watch() -> None:
        # Not through sys.stdin: the interpreter could not end while this thread waits inside it.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _start_node(folder: JobFolder, node: int) -> int:
    try:
        task, _ = read_job(folder)
        check_devices(task.train)
        with Workers(folder, task.train, node) as workers:
            workers.wait(lambda: None)
    except MoonError as error:
        _log.error("%s", error)
        return error.exit_status
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's own end: a process group whose partner is gone may wait there for ever.
    os._exit(status)
