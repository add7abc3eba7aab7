"""The temperature that contrastive losses share."""

from __future__ import annotations

import math

import torch
from torch import nn


class Temperature(nn.Module):
    """A learnt temperature, kept above a floor.

    One side alone, as in CLIP (arXiv 2103.00020), which keeps the logit scale at 100 at most: our default floor of
    0.01. A ceiling has nothing to hold off. The higher the temperature, the nearer the loss is to the log of the number
    of candidates, and its derivative in the scale to the mean cosine of all candidates less that of the positive: the
    temperature comes down by itself as soon as positives are nearer than the average candidate.

    Args:
        start: Temperature at step 0.
        lowest: Below it the loss would look at the single hardest negative alone.
    """

    def __init__(self, start: float, lowest: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1.0 / start)))
        self.highest = math.log(1.0 / lowest)

    @property
    def scale(self) -> torch.Tensor:
        """1 / temperature, a scalar."""
        return self.log_scale.clamp(max=self.highest).exp()

    @property
    def value(self) -> torch.Tensor:
        """The temperature in use, for the log: a scalar without gradient, never below the floor."""
        return 1.0 / self.scale.detach()

    def clamp_(self) -> None:
        """Bring the parameter itself back into bounds, so that its gradient does not stay zero."""
        with torch.no_grad():
            # A little below: rounded to float32 the bound itself may lie above the bound, where the gradient is zero.
            self.log_scale.clamp_(max=self.highest - 1e-4)
