"""Who must not be a negative, asked of strings and one pair at a time: what the masks on codes are held to.

All functions return (Q, C) bool, True where the candidate must not be a negative of the query.
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


def shares_photo(query_photos: Sequence[str], candidate_photos: Sequence[AbstractSet[str]]) -> torch.Tensor:
    """The candidate holds the very photograph that the query shows; an empty digest is no photograph."""
    return torch.tensor(
        [[bool(key) and key in photos for photos in candidate_photos] for key in query_photos], dtype=torch.bool
    )


def guarded(similarity_QC: torch.Tensor, positive_QC: torch.Tensor, margin: float) -> torch.Tensor:
    """The candidate is more similar to the query than its positive is, by more than `margin`.

    Args:
        similarity_QC: Cosines.
        positive_QC: Where several are positive, the least similar one counts.
        margin: In cosine, 0 to 2.
    """
    lowest_Q = similarity_QC.detach().masked_fill(~positive_QC, torch.inf).amin(dim=1)
    return (similarity_QC > lowest_Q.unsqueeze(1) + margin) & ~positive_QC
