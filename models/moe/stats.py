"""What the router did over one step, and the two losses that keep it healthy.

The sums are kept apart from the losses because a step may run the decoder many times (queries, products, views,
gradient-cache chunks): the balance is wanted over all of their tokens, not within each pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.config import MoeConfig


@dataclass(frozen=True)
class RouterStats:
    """Sums over the routed tokens of one layer; those of several passes add up."""

    prob_sum_E: torch.Tensor
    """Router probabilities summed over tokens; has a gradient."""
    count_E: torch.Tensor
    """How often each expert was chosen, int64."""
    z_sum: torch.Tensor
    """Squared log-sum-exp of the router's logits summed over tokens; a scalar with a gradient."""
    num_tokens: torch.Tensor
    """An int64 scalar."""

    @classmethod
    def none(cls, num_experts: int, device: torch.device) -> RouterStats:
        """No token at all."""
        zeros_E = torch.zeros(num_experts, device=device)
        return cls(zeros_E, zeros_E.long(), zeros_E.sum(), zeros_E.long().sum())

    @classmethod
    def of_tensors(cls, tensors: Sequence[torch.Tensor]) -> list[RouterStats]:
        """Those of several layers again, from their `tensors()` one after the other."""
        assert len(tensors) % 4 == 0, "four tensors a layer"
        return [cls(*tensors[start : start + 4]) for start in range(0, len(tensors), 4)]

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The four sums, for whatever adds tensors: a gradient cache, a reduction over processes."""
        return self.prob_sum_E, self.count_E, self.z_sum, self.num_tokens

    def __add__(self, other: RouterStats) -> RouterStats:
        return RouterStats(*(one + more for one, more in zip(self.tensors(), other.tensors(), strict=True)))

    def detached(self) -> RouterStats:
        """The same numbers without their graph."""
        return RouterStats(*(one.detach() for one in self.tensors()))


def load_balance_loss(stats: RouterStats, whole: RouterStats | None = None) -> torch.Tensor:
    """E * sum_e f_e P_e, with f_e the share of choices and P_e the mean probability of expert e.

    1 when choices or probabilities are even; E when all tokens go to one expert with certainty.

    Args:
        stats: The tokens whose probabilities get a gradient.
        whole: The step they are a part of. f_e and the number of tokens are then the step's, so that the values of
            the parts add up to that of the step, and so do the gradients.

    Source: Switch Transformer, arXiv 2101.03961, eq. 4; for k above 1 the choices are divided by k.
    """
    whole = whole or stats
    num_choices = whole.count_E.sum().clamp(min=1)
    share_E = whole.count_E / num_choices
    return len(share_E) * (share_E * stats.prob_sum_E).sum() / whole.num_tokens.clamp(min=1)


def router_z_loss(stats: RouterStats, whole: RouterStats | None = None) -> torch.Tensor:
    """Mean squared log-sum-exp of the logits: keeps them small enough for float arithmetic.

    Args:
        stats: The tokens that get a gradient.
        whole: The step they are a part of, as in `load_balance_loss`.

    Source: ST-MoE, arXiv 2202.08906, eq. 5.
    """
    return stats.z_sum / (whole or stats).num_tokens.clamp(min=1)


def aux_loss(
    stats: Sequence[RouterStats], config: MoeConfig, whole: Sequence[RouterStats] | None = None
) -> torch.Tensor:
    """Weighted balance and z-losses, summed over layers.

    Args:
        stats: One a layer: `[moe.take_stats() for moe in moes]`, of the whole step or of one chunk of it.
        config: Weights of the two losses.
        whole: With a chunk in `stats`: those of all the step's chunks (and of all ranks), one a layer, as a first
            pass without gradient gives them. The chunks' losses then add up to the step's, gradients included,
            because the loss is linear in the probabilities once the choices are counted.

    Returns:
        A float32 scalar; zero without layers.
    """
    loss = torch.zeros(()) if not stats else stats[0].z_sum.new_zeros(())
    for number, layer in enumerate(stats):
        of_all = whole[number] if whole is not None else None
        loss = loss + config.load_balance_weight * load_balance_loss(layer, of_all)
        loss = loss + config.router_z_weight * router_z_loss(layer, of_all)
    return loss
