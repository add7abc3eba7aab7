"""Weights between objectives, learnt through the experts that their items use.

Shape suffixes: B items, Z experts, M objectives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn


class ModalityWeights(nn.Module):
    """An alignment matrix between experts and objectives says how much each objective's loss counts.

        p_zm    = softmax_m W*_zm
        omega_m = (1/|B_m|) sum_{b in B_m} sum_z p_zm G~_zb
        weight  = M (1 - floor) omega_m / sum_m' omega_m' + floor

    An objective is a kind of query: photo, words, both. Image-text alignment inside a product is none of them: it is
    asked of products, and has a weight of its own (`train.alignment_weight`).

    Args:
        num_experts: Z, routed experts.
        objectives: Names of the M objectives.
        floor: Least weight of an objective, 0 to 1; at 1 all weights are one.

    Relations:
        W* is `alignment_ZM`, G~ the mean over tokens and layers of an item's gates, omega the paper's. The loss is
        sum_m weight_m L_m + sigma `sparsity()`; sigma is the caller's.

    Pitfalls:
        A loss weighted by learnt weights rewards weight moved to what is easy. Without a constant sum all weights would
        shrink, and the loss with them; with it, the hardest objective alone would starve. Hence the sum and the floor.
        Lower the floor only while watching the hardest objective's score.
        Gates with gradient also pull the router towards the easy objective's experts; gates detached train W* alone,
        and are what is at hand when the forward pass was cached.
        Across ranks the mean over a rank's own items is used unless the caller gathers the gates.

    Source: MOON2.0, arXiv 2511.12449, modality-driven MoE. Ours: the constant sum M, mean weight one, so that other
    configured weights keep their meaning; the floor; W* starting at zero, so that training starts from equal weights;
    objectives without an item in the batch leave the sum.
    """

    def __init__(self, num_experts: int, objectives: Sequence[str], floor: float = 0.25) -> None:
        super().__init__()
        assert len(objectives) == len(set(objectives)) > 0
        assert 0.0 <= floor <= 1.0
        self.objectives, self.floor = tuple(objectives), floor
        self.alignment_ZM = nn.Parameter(torch.zeros(num_experts, len(objectives)))

    def forward(self, gates: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights of the objectives that have items in the batch.

        Args:
            gates: By objective, (B, Z) mean gate mass of each item's tokens by expert; rows sum to one. No rows, or no
                entry, for an objective that the batch lacks.

        Returns:
            Scalars by objective; over those present their mean is one and none is below the floor.
        """
        unknown = gates.keys() - set(self.objectives)
        assert not unknown, f"no such objective: {sorted(unknown)}"
        p_ZM = self.alignment_ZM.softmax(dim=1)
        present = [name for name in self.objectives if name in gates and len(gates[name])]
        if not present:
            return {}
        omega = torch.stack(
            [(gates[name].to(p_ZM.dtype) @ p_ZM[:, self.objectives.index(name)]).mean() for name in present]
        )
        weights = len(present) * (1.0 - self.floor) * omega / omega.sum() + self.floor
        return dict(zip(present, weights.unbind(), strict=True))

    def sparsity(self) -> torch.Tensor:
        """Mean over experts of the entropy of p_z, nats, 0 to log M; made small, each expert serves one objective."""
        log_p_ZM = self.alignment_ZM.log_softmax(dim=1)
        return -(log_p_ZM.exp() * log_p_ZM).sum(dim=1).mean()

    def report(self) -> dict[str, torch.Tensor]:
        """For the log: by objective, the share of the experts that are aligned with it, detached."""
        share_M = self.alignment_ZM.detach().softmax(dim=1).mean(dim=0)
        return {f"modality/{name}": share for name, share in zip(self.objectives, share_M.unbind(), strict=True)}
