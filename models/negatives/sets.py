"""Which candidates answer a query, by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import torch


def answers(accepted: Sequence[AbstractSet[str]], candidate_ids: Sequence[str]) -> torch.Tensor:
    """The candidate is among what was bought for the query, or holds what it must not be compared with.

    Returns (Q, C) bool, True where the candidate must not be a negative of the query.

    Args:
        accepted: For each query the ids (or photo digests) that answer it.
        candidate_ids: For each candidate its id.
    """
    return torch.tensor([[key in ids for key in candidate_ids] for ids in accepted], dtype=torch.bool)
