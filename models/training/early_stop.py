"""Early stop on the main score, keeping the weights that scored best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from catalog import ModelError


@dataclass
class EarlyStop:
    """Judges the model every so many steps and says when to stop.

    A score counts as better when it is above the best by more than `min_delta`. The weights kept are those of the best
    score by any margin, so that a slow climb below `min_delta` is not thrown away, only not waited for.

    Args:
        score: Judges the model as it is; higher is better. Brings itself into evaluation mode and back.
        module: Its parameters that learn are the ones kept, and its buffers.
        every_steps: Steps between two judgements.
        patience: Judgements without a better score after which to stop; None: never, the best is kept all the same.
        min_delta: By how much a score must be better to be waited for, in units of the score.
    """

    score: Callable[[], float]
    module: nn.Module
    every_steps: int
    patience: int | None = None
    min_delta: float = 0.0
    history: list[tuple[int, float]] = field(default_factory=list)
    """Step and score of each judgement."""
    best_step: int | None = None
    """Step of the weights kept; None before the first judgement."""
    best_score: float = -math.inf
    _bar: float = -math.inf
    _waited: int = 0
    _kept: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.every_steps > 0
        assert self.patience is None or self.patience > 0
        assert self.min_delta >= 0.0

    def after_step(self, step: int, last: bool = False) -> bool:
        """Judge where it is due.

        Args:
            step: Optimiser steps done.
            last: The training ends here; it is judged now whatever the step.

        Returns:
            True when the training should stop.

        Raises:
            ModelError: The score is not finite.
        """
        if not last and step % self.every_steps:
            return False
        if self.history and self.history[-1][0] == step:
            return self.should_stop
        value = float(self.score())
        if not math.isfinite(value):
            raise ModelError(
                "the score that decides about early stop is not finite",
                where=f"step {step}",
                got=str(value),
                fix="look at what the score is made of, or leave train.stop.eval_every_steps empty (null)",
            )
        self.history.append((step, value))
        if value > self.best_score:
            self.best_score, self.best_step = value, step
            self._kept = {name: one.detach().to("cpu", copy=True) for name, one in self._tensors().items()}
        if value > self._bar + self.min_delta:
            self._bar, self._waited = value, 0
        else:
            self._waited += 1
        return self.should_stop

    @property
    def should_stop(self) -> bool:
        """True once `patience` judgements in a row were no better."""
        return self.patience is not None and self._waited >= self.patience

    @torch.no_grad()
    def restore_best(self) -> int | None:
        """Put the best weights into the module.

        Returns:
            Their step; None, with nothing done, when none was judged.
        """
        tensors = self._tensors()
        for name, value in self._kept.items():
            tensors[name].copy_(value)
        return self.best_step

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint; the best weights are part of it."""
        return {
            "history": [list(point) for point in self.history],
            "best_step": self.best_step,
            "best_score": self.best_score,
            "bar": self._bar,
            "waited": self._waited,
            "kept": self._kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.history = [(int(step), float(value)) for step, value in state["history"]]
        self.best_step, self.best_score = state["best_step"], state["best_score"]
        self._bar, self._waited, self._kept = state["bar"], state["waited"], dict(state["kept"])

    def _tensors(self) -> dict[str, torch.Tensor]:
        learning: dict[str, torch.Tensor] = {
            name: one for name, one in self.module.named_parameters() if one.requires_grad
        }
        return learning | dict(self.module.named_buffers())
