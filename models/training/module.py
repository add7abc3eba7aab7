"""The Lightning module: a thin shell over `Objective` that schedules, guards and checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim import AdamW

from catalog import ModelError
from models.config import TrainConfig
from models.moe import expert_load
from models.training.chunks import Step, run_step
from models.training.data import TrainBatch
from models.training.early_stop import EarlyStop
from models.training.ema import Ema
from models.training.objective import Objective
from models.training.parameters import eval_frozen_norms, optimizer_groups
from models.training.schedule import lr_factor
from models.training.workdir import save_checkpoint

_log = logging.getLogger(__name__)
MAX_NAMED_PRODUCTS = 8


class MoonModule(LightningModule):
    """Steps are counted from the start of the training, across resumed runs; Lightning's own count is not used.

    Args:
        objective: Model and losses.
        config: The training's section.
        work_dir: Where checkpoints go.
        fingerprint: What a checkpoint must have been made from.
        first_step: Step to go on from.
        seconds_before: Training time of the runs before this one, seconds.
        optimizer_state: Of the checkpoint to go on from.
        score: The main score of the model as it stands, for an early stop.
    """

    def __init__(
        self,
        objective: Objective,
        config: TrainConfig,
        work_dir: Path,
        fingerprint: str,
        first_step: int = 0,
        seconds_before: float = 0.0,
        optimizer_state: dict[str, Any] | None = None,
        score: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self.objective, self.config = objective, config
        self.ema = Ema(objective, config.ema_decay) if config.ema_decay is not None else None
        stop = config.stop
        self.early_stop = (
            EarlyStop(self._in_evaluation(score), objective, stop.eval_every_steps, stop.patience, stop.min_delta)
            if stop.eval_every_steps is not None and score is not None
            else None
        )
        self.work_dir, self.fingerprint = work_dir, fingerprint
        self.step = first_step
        self.seconds_before = seconds_before
        self._optimizer_state = optimizer_state
        self._started = time.monotonic()
        self.last_report: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self._samples, self._samples_since = 0, time.monotonic()
        self._current: Step | None = None

    @property
    def seconds(self) -> float:
        """Training time so far, all runs together."""
        return self.seconds_before + time.monotonic() - self._started

    def configure_optimizers(self) -> AdamW:
        groups = optimizer_groups(
            self.objective,
            self.objective.model.backbone.vision_parameters(),
            lr_vision=self.config.lr_vision,
            lr_text=self.config.lr_text,
            weight_decay=self.config.weight_decay,
            multipliers=self.config.parameters.lr_multipliers,
        )
        optimizer = AdamW(groups, betas=(0.9, 0.98), eps=1e-8)
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        return optimizer

    def on_train_start(self) -> None:
        eval_frozen_norms(self.objective)
        self._started = self._samples_since = time.monotonic()

    def transfer_batch_to_device(self, batch: TrainBatch, device: torch.device, dataloader_idx: int) -> TrainBatch:
        return batch.to(device)

    def on_train_batch_start(self, batch: TrainBatch, batch_idx: int) -> None:
        assert batch.step == self.step, f"the loader is at step {batch.step}, the training at {self.step}"
        factor = lr_factor(self._done_frac(), self.config.warmup_frac)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = group["peak_lr"] * factor

    def training_step(self, batch: TrainBatch, batch_idx: int) -> torch.Tensor:
        step = run_step(self.objective, batch, self.config.chunk_tokens)
        if not bool(torch.isfinite(step.loss)):
            self._refuse(batch, step.report)
        self.last_report = {name: float(value) for name, value in step.report.items()} | {
            "loss": float(step.loss.detach())
        }
        self._samples += len(batch.product_ids)
        self._current = step
        return step.loss

    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        assert self._current is not None
        self._current.backward(loss)
        self.objective.remember(self._current.batch, self._current.products)
        self._current = None

    def on_train_batch_end(self, outputs: Any, batch: TrainBatch, batch_idx: int) -> None:
        self.objective.temperature.clamp_()
        self.objective.label_temperature.clamp_()
        self.step += 1
        if self.ema is not None:
            self.ema.update()
        last = self.step == self.config.steps
        if self.step % self.config.log_every_steps == 0 or last:
            self._log_point()
        if self._done_frac() >= 1.0 and not last:
            _log.info("time is up after %d of %d steps", self.step, self.config.steps)
            self.trainer.should_stop = True
            last = True
        if self.early_stop is not None and self._ends_early(self.early_stop, last):
            _log.info("stopped early at step %d: the score no longer rises", self.step)
            self.trainer.should_stop = True
            last = True
        if self.step % self.config.checkpoint_every_steps == 0 or last:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write what a run needs to go on from here."""
        # A weight that became infinite in this very update would poison every run that goes on from it.
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.objective.parameters()):
            raise ModelError(
                "a weight is not finite any more; the last good checkpoint was kept",
                where=f"step {self.step}",
                fix="lower train.lr_vision and train.lr_text, then run again with another working folder",
            )
        save_checkpoint(
            self.work_dir,
            {
                "fingerprint": self.fingerprint,
                "step": self.step,
                "seconds": self.seconds,
                "objective": self.objective.state_dict(),
                "optimizer": self.optimizers().state_dict(),  # type: ignore[union-attr]
                "torch_rng": torch.get_rng_state(),
                "history": self.history,
                "ema": self.ema.state_dict() if self.ema is not None else None,
                "early_stop": self.early_stop.state_dict() if self.early_stop is not None else None,
            },
        )

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint holds besides weights and optimiser."""
        self.history = state["history"]
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        if self.early_stop is not None:
            self.early_stop.load_state_dict(state["early_stop"])

    def settle(self) -> None:
        """Put into the model what is to be shipped: the best judged weights, else the average, else the last."""
        if self.early_stop is not None and self.early_stop.restore_best() is not None:
            return
        if self.ema is not None:
            self.ema.copy_to()

    def _ends_early(self, early_stop: EarlyStop, last: bool) -> bool:
        """Judges, where it is due, what would be shipped: the moving average where there is one."""
        with nullcontext() if self.ema is None else self.ema.swapped_in():
            return early_stop.after_step(self.step, last)

    def _in_evaluation(self, score: Callable[[], float]) -> Callable[[], float]:
        """The score taken in evaluation mode; it leaves no trace in the random state."""

        def judge() -> float:
            self.objective.eval()
            try:
                with torch.random.fork_rng():
                    return score()
            finally:
                self.objective.train()
                eval_frozen_norms(self.objective)

        return judge

    def _done_frac(self) -> float:
        done = self.step / self.config.steps
        return max(done, self.seconds / self.config.max_seconds) if self.config.max_seconds else done

    def _log_point(self) -> None:
        now = time.monotonic()
        rates = {f"lr/{group['name']}": group["lr"] for group in self.optimizers().param_groups}  # type: ignore[union-attr]
        point = {f"train/{name}": value for name, value in (self.last_report | rates).items()}
        point["train/samples_per_s"] = self._samples / max(now - self._samples_since, 1e-9)
        point |= {f"train/{name}": value for name, value in self.objective.model.head.gates().items()}
        self._samples, self._samples_since = 0, now
        self.history.append({"step": float(self.step), **point})
        load = {f"train/{name}": value for name, value in expert_load(self.objective.model.moes).items()}
        if self.logger is not None:
            self.logger.log_metrics(point | load, step=self.step)

    def _refuse(self, batch: TrainBatch, report: dict[str, torch.Tensor]) -> None:
        bad = [name for name, value in report.items() if not math.isfinite(float(value))]
        named = ", ".join(batch.product_ids[:MAX_NAMED_PRODUCTS])
        more = len(batch.product_ids) - MAX_NAMED_PRODUCTS
        raise ModelError(
            f"loss is not finite at step {self.step}; the last good checkpoint was kept",
            where=f"products {named}" + (f" and {more} more" if more > 0 else ""),
            got=", ".join(bad) or "loss",
            fix="lower train.lr_vision and train.lr_text or look at these products, then run again with another "
            "working folder",
        )
