"""What a person sees while a training runs: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from models.training.schedule import ends_update

_log = logging.getLogger(__name__)


class Progress(Callback):
    """Steps done, time left, loss parts and speed.

    Args:
        first_step: Where this run goes on from.
        steps: Where it ends.
        accumulate_batches: Batches of a step.
        line_every_s: Seconds between two lines where there is no terminal.
    """

    def __init__(self, first_step: int, steps: int, accumulate_batches: int = 1, *, line_every_s: float = 20.0) -> None:
        self.steps, self.first_step, self.line_every_s = steps, first_step, line_every_s
        self.accumulate_batches = accumulate_batches
        self.bar: tqdm | None = None
        self.started = self.last_line = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = self.last_line = time.monotonic()
        if sys.stderr.isatty():
            self.bar = tqdm(total=self.steps, initial=self.first_step, desc="train", unit="step")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not ends_update(batch_idx, self.accumulate_batches):
            return
        report: dict[str, float] = pl_module.last_report  # type: ignore[assignment]
        shown = {name.removeprefix("loss/"): f"{value:.3f}" for name, value in report.items()}
        if self.bar is not None:
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update()
            return
        now = time.monotonic()
        if now - self.last_line >= self.line_every_s:
            self.last_line = now
            here = (batch_idx + 1) // self.accumulate_batches
            done = self.first_step + here
            left_s = (now - self.started) / here * (self.steps - done)
            parts = ", ".join(f"{name} {value}" for name, value in shown.items())
            _log.info("step %d of %d, %.0f s left: %s", done, self.steps, left_s, parts)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
