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
from models.moe import LoadTotal
from models.moon import MoonModel
from models.negatives import num_ranks
from models.training.chunks import Step, run_step
from models.training.early_stop import EarlyStop
from models.training.ema import Ema
from models.training.grad_cache import average_gradients
from models.training.not_finite import refuse_gradients, refuse_loss, what_was_kept
from models.training.objective import Objective
from models.training.parameters import eval_frozen_norms, optimizer_groups
from models.training.ranks import Ranks, anywhere, from_first, mean_of_all, of_all, same_everywhere
from models.training.schedule import ends_update, lr_factor
from models.training.sharding import (
    clip_gradients,
    dealt_by_name,
    dealt_optimizer_state,
    local,
    shard,
    twin_of,
    unsharded,
    whole,
    whole_model,
)
from models.training.so_far import SoFar
from models.training.train_batch import TrainBatch
from models.training.workdir import random_state, restore_random_state, save_checkpoint

_log = logging.getLogger(__name__)


class MoonModule(LightningModule):
    """Steps are counted from the start of the training, across resumed runs; Lightning's own count is not used.

    Args:
        objective: Model and losses; with the weights of `resume`, where there is one.
        config: The training's section.
        work_dir: Where checkpoints go.
        fingerprint: What a checkpoint must have been made from.
        resume: The checkpoint to go on from.
        score: The main score of a model, for an early stop; called on the first process alone.
        ranks: This process among those that train together.
    """

    def __init__(
        self,
        objective: Objective,
        config: TrainConfig,
        work_dir: Path,
        fingerprint: str,
        resume: dict[str, Any] | None = None,
        score: Callable[[MoonModel], float] | None = None,
        ranks: Ranks = Ranks(),
    ) -> None:
        super().__init__()
        self.objective, self.config, self.ranks = objective, config, ranks
        self.work_dir, self.fingerprint = work_dir, fingerprint
        self.step = int(resume["step"]) if resume is not None else 0
        self.kept_step = self.step if resume is not None else None
        self.seconds_before = float(resume["seconds"]) if resume is not None else 0.0
        self.history: list[dict[str, float]] = list(resume["history"]) if resume is not None else []
        self.last_report: dict[str, float] = {}
        self.sharded = config.strategy == "fsdp" and ranks.world > 1
        # In a list, because the module must not count its weights as its own.
        self._twins: list[MoonModel] = []
        # The sum over all processes, so the first alone goes on from it; older checkpoints have none.
        before = resume.get("expert_choices") if resume is not None and ranks.is_first else None
        self._choices = LoadTotal(objective.model.moes, before)
        self._resume, self._score = resume, score
        self._started = time.monotonic()
        self._samples, self._samples_since = 0, time.monotonic()
        self._current: Step | None = None
        # Of the update's backward passes, read with the norm of their gradients.
        self._so_far, self._is_broken = SoFar(), torch.zeros(())
        self._warns_of_drift = True
        self.ema: Ema | None = None
        self.early_stop: EarlyStop | None = None
        self._start_averages()

    @property
    def seconds(self) -> float:
        """Training time so far, all runs together."""
        return self.seconds_before + time.monotonic() - self._started

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to train: all steps are made, or an earlier run came to its end before them."""
        stopped = self.early_stop is not None and self.early_stop.should_stop
        return self.step >= self.config.steps or stopped or self._spent_frac() >= 1.0

    def configure_model(self) -> None:
        if self.sharded and not self._twins:
            self._twins = [twin_of(self.objective.model)]
            # Each made its own start, whose last bits another processor rounds otherwise.
            same_everywhere(self.objective)
            shard(self.objective.model, self.device_mesh["data_parallel"])  # type: ignore[index]
            self._start_averages()

    def configure_optimizers(self) -> AdamW:
        groups = optimizer_groups(
            self.objective,
            self.objective.model.backbone.vision_parameters(),
            lr_vision=self.config.lr_vision,
            lr_text=self.config.lr_text,
            weight_decay=self.config.weight_decay,
            multipliers=self.config.parameters.lr_multipliers,
        )
        # Shards and whole tensors cannot be updated in one fused call.
        optimizer = AdamW(groups, betas=(0.9, 0.98), eps=1e-8, foreach=False if self.sharded else None)
        if self._resume is not None:
            optimizer.load_state_dict(dealt_optimizer_state(self._resume["optimizer"], optimizer))
        return optimizer

    def on_train_start(self) -> None:
        eval_frozen_norms(self.objective)
        if self.ema is not None:
            self.ema.to(self.device)
        if self._resume is not None:
            restore_random_state(self._resume["random"][self.ranks.rank])
        else:
            torch.manual_seed(self.config.seed + self.ranks.rank)
        self._resume = None
        self._started = self._samples_since = time.monotonic()

    def transfer_batch_to_device(self, batch: TrainBatch, device: torch.device, dataloader_idx: int) -> TrainBatch:
        return batch.to(device)

    def on_train_batch_start(self, batch: TrainBatch, batch_idx: int) -> None:
        assert batch.step == self.step, f"the loader is at step {batch.step}, the training at {self.step}"
        factor = lr_factor(self._done_frac(), self.config.warmup_frac)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = group["peak_lr"] * factor

    def training_step(self, batch: TrainBatch, batch_idx: int) -> torch.Tensor:
        if batch_idx % self.config.accumulate_batches == 0:
            self._so_far = SoFar()
        step = run_step(self.objective, batch, self.config.chunk_tokens, self.sharded)
        figures = {**step.report, "loss": step.loss}
        # One copy to the host for all figures of the step.
        values = torch.stack([one.detach().float() for one in figures.values()]).tolist()
        told = dict(zip(figures, values, strict=True))
        if anywhere(not math.isfinite(told["loss"]), self.device):
            refuse_loss(self.step, told, batch.product_ids, step.products, self.kept_step)
        self._so_far.figures.append(told)
        self.last_report = self._so_far.report
        self._samples += len(batch.product_ids) * self.ranks.world
        self._current = step
        return step.loss

    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        assert self._current is not None
        self._current.backward(loss)
        self._so_far.add(self._current)
        # Sums are averaged once: the mean of sums is the sum of means.
        if num_ranks() > 1 and len(self._so_far.figures) == self.config.accumulate_batches:
            # The mean makes everyone's as bad as the worst; only here is it known whose they were.
            own = [one.grad for one in unsharded(self.objective.parameters()) if one.grad is not None]
            self._is_broken = ~torch.isfinite(torch.nn.utils.get_total_norm(own))
            # Not DDP's reducer: it would send while the backward pass of gathered vectors sends too, in an order that
            # differs between processes, and it wants every parameter used in every step.
            average_gradients(unsharded(self.objective.parameters()))
        self.objective.remember(self._current.batch, self._current.products)
        self._current = None

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        norm = clip_gradients(parameters, self.config.clip_norm)
        # One copy to the host for both.
        so_far = self._so_far
        grad_norm, drift = torch.stack([norm.float(), so_far.drift.to(norm.device).float()]).tolist()
        self.last_report["grad_norm"] = grad_norm
        # Before the update, which would write it into weights and moments and blame the next batch.
        if anywhere(not math.isfinite(grad_norm), self.device):
            refuse_gradients(self.step, grad_norm, so_far.product_ids, bool(self._is_broken), self.kept_step)
        if drift > so_far.drift_bound and self._warns_of_drift:
            _log.warning(
                "train.chunk_tokens: at step %d the second pass gave other numbers than the first (by %.2g of the "
                "largest, at most %.2g expected), so gradients are wrong; likely a layer is random in a way that "
                "torch's generators do not restore, as dropout with its own generator, or remembers its last input",
                self.step,
                drift,
                so_far.drift_bound,
            )
            # Said once; what causes it stays.
            self._warns_of_drift = False

    def on_train_batch_end(self, outputs: Any, batch: TrainBatch, batch_idx: int) -> None:
        if not ends_update(batch_idx, self.config.accumulate_batches):
            return
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
        """Write what a run needs to go on from here; to be called by all processes."""
        # A weight that became infinite in this very update would poison every run that goes on from it.
        bad = not all(bool(torch.isfinite(local(one)).all()) for one in self.objective.parameters())
        if anywhere(bad, next(self.objective.parameters()).device):
            raise ModelError(
                f"a weight is not finite any more; {what_was_kept(self.kept_step)}",
                where=f"step {self.step}",
                fix="lower train.lr_vision and train.lr_text, then run again with another working folder",
            )
        tensors = {
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizers().state_dict(),  # type: ignore[union-attr]
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "early_stop": self.early_stop.state_dict() if self.early_stop is not None else None,
        }
        random, choices = of_all(random_state()), self.expert_choices()
        if self.sharded:
            tensors = whole(tensors)
        if self.ranks.is_first:
            plain = {"fingerprint": self.fingerprint, "step": self.step, "seconds": self.seconds}
            kept = {"random": random, "history": self.history, "expert_choices": choices}
            save_checkpoint(self.work_dir, {**plain, **kept, **tensors})
        self.kept_step = self.step

    def expert_choices(self) -> torch.Tensor:
        """(layers, token types, experts) int64: choices over all steps and processes; to be called by all of them."""
        return torch.stack(of_all(self._choices.table())).sum(dim=0)

    def settle(self) -> str:
        """Put into the model what is to be shipped: the best judged weights, else the average, else the last.

        Returns:
            Which of them, in words.
        """
        if self.early_stop is not None:
            best = self.early_stop.restore_best()
            if best is not None:
                return f"best of {len(self.early_stop.history)} judged, step {best}"
        if self.ema is not None:
            self.ema.copy_to()
            return f"moving average, decay {self.ema.decay:g}"
        return f"last, step {self.step}"

    def whole_model(self) -> MoonModel | None:
        """The model with all its weights; None on all but the first process where it is sharded."""
        return whole_model(self.objective.model, self._twins[0] if self._twins else None)

    def _start_averages(self) -> None:
        """Moving average and early stop over the parameters as they are now, whole or sharded."""
        config, stop = self.config, self.config.stop
        self.ema = Ema(self.objective, config.ema_decay) if config.ema_decay is not None else None
        if stop.eval_every_steps is not None and self._score is not None:
            every, patience, least = stop.eval_every_steps, stop.patience, stop.min_delta
            self.early_stop = EarlyStop(self._judge, self.objective, every, patience, least)
        if self._resume is None:
            return
        if self.ema is not None:
            kept = self._resume["ema"]
            self.ema.load_state_dict({**kept, "mean": dealt_by_name(kept["mean"], self.objective)})
        if self.early_stop is not None:
            kept = self._resume["early_stop"]
            self.early_stop.load_state_dict({**kept, "kept": dealt_by_name(kept["kept"], self.objective)})

    def _ends_early(self, early_stop: EarlyStop, last: bool) -> bool:
        """Judges, where it is due, what would be shipped: the moving average where there is one."""
        judged = len(early_stop.history)
        with nullcontext() if self.ema is None else self.ema.swapped_in():
            ends = early_stop.after_step(self.step, last)
        if len(early_stop.history) > judged and self.logger is not None:
            self.logger.log_metrics({"val/score": early_stop.history[-1][1]}, step=self.step)
        return ends

    def _judge(self) -> float:
        """The score taken in evaluation mode; it leaves no trace in the random state."""
        assert self._score is not None
        self.objective.eval()
        try:
            with torch.random.fork_rng():
                model = self.whole_model()
                value = self._score(model) if self.ranks.is_first and model is not None else math.nan
                return from_first(value)
        finally:
            self.objective.train()
            eval_frozen_norms(self.objective)

    def _spent_frac(self) -> float:
        """Share of the time allowed that is used up; the first process's clock counts."""
        return from_first(self.seconds / self.config.max_seconds) if self.config.max_seconds else 0.0

    def _done_frac(self) -> float:
        return max(self.step / self.config.steps, self._spent_frac())

    def _log_point(self) -> None:
        now = time.monotonic()
        rates = {f"lr/{group['name']}": group["lr"] for group in self.optimizers().param_groups}  # type: ignore[union-attr]
        point = {f"train/{name}": value for name, value in (mean_of_all(self.last_report) | rates).items()}
        point["train/samples_per_s"] = self._samples / max(now - self._samples_since, 1e-9)
        point |= {f"train/{name}": value for name, value in self.objective.model.head.gates().items()}
        self._samples, self._samples_since = 0, now
        self.history.append({"step": float(self.step), **point})
        load = {f"train/{name}": value for name, value in self._choices.take().items()}
        if self.logger is not None:
            self.logger.log_metrics(point | load, step=self.step)
