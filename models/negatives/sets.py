"""The same questions asked of strings, one pair at a time: plain, slow, and what the masks on codes are held to.

All functions return (Q, C) bool, True where the candidate must NOT be a negative of the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import torch


def same_key(query_keys: Sequence[str], candidate_keys: Sequence[str]) -> torch.Tensor:
    """Both have the same key: product id, group, or text."""
    codes = {key: number for number, key in enumerate({*query_keys, *candidate_keys})}
    left = torch.tensor([codes[key] for key in query_keys])
    right = torch.tensor([codes[key] for key in candidate_keys])
    return left.unsqueeze(1) == right.unsqueeze(0)


def answers(accepted: Sequence[AbstractSet[str]], candidate_ids: Sequence[str]) -> torch.Tensor:
    """The candidate is among what was bought for the query, or holds what it must not be compared with.

    Args:
        accepted: For each query the ids (or photo digests) that answer it.
        candidate_ids: For each candidate its id.
    """
    return torch.tensor([[key in ids for key in candidate_ids] for ids in accepted], dtype=torch.bool)


def shares_photo(query_photos: Sequence[str], candidate_photos: Sequence[AbstractSet[str]]) -> torch.Tensor:
    """The candidate holds the very photograph that the query shows; an empty digest is no photograph."""
    return torch.tensor(
        [[bool(key) and key in photos for photos in candidate_photos] for key in query_photos], dtype=torch.bool
    )
