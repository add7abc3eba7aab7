"""Distillation: what an item's vector is with more to see, it is to be with less."""

from __future__ import annotations

import torch
from torch.distributed import ProcessGroup

from models.losses.contrastive import over_dims
from models.losses.means import mean_over_ranks


def distillation(
    student_NE: torch.Tensor, teacher_NE: torch.Tensor, dims: tuple[int, ...], group: ProcessGroup | None = None
) -> torch.Tensor:
    """Mean of 1 - cosine between the vectors of the same items.

        L = 1/N sum_i (1 - s_i . t_i)

    Args:
        student_NE: Unit vectors of items without their crops.
        teacher_NE: Unit vectors of the same items with them; no gradient flows into them.
        dims: Matryoshka lengths.
        group: Ranks that train together; all by default.

    Returns:
        Scalar, this rank's share as `mean_over_ranks` has it; zero, with a gradient, where no rank has an item.

    Relations:
        1 - cosine is half the squared distance of unit vectors. InfoNCE over detached teachers (contrastive
        distillation, arXiv 1910.10699) would be content with the right order among the items of a batch. Here the very
        vector is wanted: an index that was filled with crops is then searched without them, thresholds hold, and there
        are no false negatives to mask.

    Pitfalls:
        All ranks must call it in every step, those without an item too.
        A teacher that is not detached could meet the student half-way, by forgetting the crop.

    Source: Hinton et al., arXiv 1503.02531, for the idea; the loss between embeddings is our choice.
    """

    def lost(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return 1.0 - (student.float() * teacher.float()).sum(dim=1)

    loss_N = over_dims(lost, dims, student_NE, teacher_NE.detach())
    return mean_over_ranks(loss_N, torch.ones_like(loss_N), group)
