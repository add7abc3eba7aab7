"""Exponential moving average of the weights in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Ema:
    """Moving average of the parameters that learn, to be judged and shipped in place of the last ones.

        a_t = min(decay, t / (t + 9)),   w~_t = a_t w~_{t-1} + (1 - a_t) w_t,   t = 1, 2, ... updates

    Buffers and frozen parameters are not averaged: they stay, or are counters.

    Args:
        module: Holds the parameters; must not get others afterwards.
        decay: Share of the former average that an update keeps, 0 to 1.

    Relations:
        At decay 0 the average is the weights themselves. The first updates keep less than `decay`, so that the average
        does not drag the initial weights along: after t of them w~ stands for about the last t / 10.

    Source: Polyak averaging; the warm-up is TensorFlow's `ExponentialMovingAverage(num_updates=t)`, there
        (1 + t) / (10 + t) with t from 0.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        assert 0.0 <= decay < 1.0
        self.decay, self.num_updates = decay, 0
        self._live = {name: one for name, one in module.named_parameters() if one.requires_grad}
        # In float32 also for weights of bf16: a thousandth of their difference would be rounded away.
        self._mean = {name: one.detach().float().clone() for name, one in self._live.items()}
        self._aside: dict[str, torch.Tensor] | None = None

    @property
    def current_decay(self) -> float:
        """Share of the former average that the latest update kept."""
        return min(self.decay, self.num_updates / (self.num_updates + 9.0))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after an optimiser step."""
        assert self._aside is None, "the average is in the model: updating would average it with itself"
        self.num_updates += 1
        weight = 1.0 - self.current_decay
        for name, one in self._live.items():
            self._mean[name].lerp_(one.detach().to(self._mean[name].dtype), weight)

    @torch.no_grad()
    def copy_to(self) -> None:
        """Put the average into the model for good."""
        for name, one in self._live.items():
            one.copy_(self._mean[name])

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The average is in the model inside the scope, and the weights in training are back after it."""
        assert self._aside is None, "the average is in the model already"
        self._aside = {name: one.detach().clone() for name, one in self._live.items()}
        try:
            self.copy_to()
            yield
        finally:
            with torch.no_grad():
                for name, one in self._live.items():
                    one.copy_(self._aside[name])
            self._aside = None

    def to(self, device: torch.device) -> Ema:
        """Move the average; the model is moved by its owner."""
        self._mean = {name: one.to(device) for name, one in self._mean.items()}
        return self

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint."""
        return {"num_updates": self.num_updates, "mean": self._mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same parameters."""
        assert state["mean"].keys() == self._mean.keys(), sorted(state["mean"].keys() ^ self._mean.keys())[:8]
        self.num_updates = int(state["num_updates"])
        for name, value in state["mean"].items():
            self._mean[name].copy_(value)
