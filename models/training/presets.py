"""Ways to try a configuration before it is trained: three steps, one batch over and over, or under the profiler."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity, profile, schedule

from models.config import TrainConfig
from models.training.schedule import ends_update

_log = logging.getLogger(__name__)
FAST_STEPS = 3
TINY_EVALUATION = 32
"""Products that a `fast_dev_run` is judged on, for whoever builds the score."""
WAIT, WARMUP, ACTIVE = 1, 2, 3
"""Steps before the profiler, steps it warms up, and steps it writes down."""
MAX_ROWS = 40


def applied(train: TrainConfig) -> TrainConfig:
    """The configuration that the preset makes of `train`, told in the log."""
    if train.preset == "fast_dev_run":
        stop = train.stop
        if stop.eval_every_steps is not None:
            stop = stop.model_copy(update={"eval_every_steps": FAST_STEPS})
        _log.warning(
            "fast_dev_run: %d steps instead of %d and a tiny evaluation; the figures mean nothing",
            min(FAST_STEPS, train.steps),
            train.steps,
        )
        return train.model_copy(
            update={
                "steps": min(FAST_STEPS, train.steps),
                "checkpoint_every_steps": 1,
                "log_every_steps": 1,
                "stop": stop,
            }
        )
    if train.preset == "profile":
        # All of them, however short the training: with fewer nothing would be written down.
        steps = WAIT + WARMUP + ACTIVE
        _log.warning("profile: %d steps instead of %d, the last %d of them written down", steps, train.steps, ACTIVE)
        return train.model_copy(update={"steps": steps})
    if train.preset == "overfit_one_batch":
        _log.warning("overfit_one_batch: the first batch in all %d steps; its recall@1 should reach 1", train.steps)
    return train


class Profiled(Callback):
    """Writes where the time of a few steps goes: a table, and a trace for chrome://tracing or Perfetto.

    Args:
        folder: `table.txt` and `trace.json` are written there.
        accumulate_batches: Batches of a step.
    """

    def __init__(self, folder: Path, accumulate_batches: int = 1) -> None:
        self.accumulate_batches = accumulate_batches
        self.table, self.trace = folder / "table.txt", folder / "trace.json"
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        plan = schedule(wait=WAIT, warmup=WARMUP, active=ACTIVE, repeat=1)
        self._profile = profile(activities=activities, schedule=plan, on_trace_ready=self._write)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._profile.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if ends_update(batch_idx, self.accumulate_batches):
            self._profile.step()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._profile.stop()
        _log.info("where the time went: %s; as a trace: %s", self.table, self.trace)

    def _write(self, profiled: profile) -> None:
        self.table.parent.mkdir(parents=True, exist_ok=True)
        longest = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        rows = profiled.key_averages().table(sort_by=longest, row_limit=MAX_ROWS)
        self.table.write_text(f"{ACTIVE} steps\n{rows}\n", encoding="utf-8")
        profiled.export_chrome_trace(str(self.trace))
