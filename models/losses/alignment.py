"""Alignment inside a product: its words, its pictures and the fused product name one thing.

Shape suffixes: V word views, N rows of the other side, T rows of all ranks, E embedding dimensions, S facts of a text,
F facts of a product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.distributed import ProcessGroup

from models.losses.contrastive import each_info_nce, over_dims, similarities
from models.losses.means import mean_over_ranks
from models.negatives.codes import CandidateCodes
from models.negatives.gather import gather_codes, gather_lists, gather_with_grad, rows_by_rank
from models.negatives.masks import described, related, same_code


@dataclass(frozen=True)
class Views:
    """One view of some products of the batch."""

    vectors_NE: torch.Tensor
    codes: CandidateCodes
    texts_N: torch.Tensor
    """Code of the words that the product's word view shows in this batch; `EMPTY` where it has none."""
    says_NS: torch.Tensor
    """Codes of the facts that a word view names; padded with `EMPTY`. No columns for what is no word view."""
    facts_NF: torch.Tensor
    """Codes of the facts that are true of the product; padded likewise. No columns where nobody asks."""

    def of_all_ranks(self, group: ProcessGroup | None = None) -> Views:
        """The views of all ranks, in the order of ranks; differentiable."""
        rows = rows_by_rank(len(self.codes), self.vectors_NE.device, group)
        return Views(
            gather_with_grad(self.vectors_NE, group, rows),
            gather_codes(self.codes, group),
            gather_with_grad(self.texts_N, group, rows),
            gather_lists(self.says_NS, group, rows),
            gather_lists(self.facts_NF, group, rows),
        )


def alignment_sets(left: Views, right: Views, mask_same_group: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Which rows of `right` answer a row of `left`, and which may be its negatives.

    Args:
        left: Anchors.
        right: Candidates.
        mask_same_group: Whether variants are left out.

    Returns:
        (V, N) bool twice: the same product, or one whose words read the same; and all that are neither that nor
        variants, and of which the words of the other are not true as well.
    """
    positive = same_code(left.codes.product_N, right.codes.product_N) | same_code(left.texts_N, right.texts_N)
    true_as_well = described(left.says_NS, right.facts_NF) | described(right.says_NS, left.facts_NF).T
    return positive, ~(positive | related(left.codes, right.codes, mask_same_group) | true_as_well)


def alignment(
    words: Views,
    products: Views,
    images: Views,
    scale: torch.Tensor,
    dims: tuple[int, ...],
    mask_same_group: bool = True,
    spatial: bool = False,
    group: ProcessGroup | None = None,
) -> torch.Tensor:
    """Words find their product, and words and pictures of a product find each other.

        L = 1/2 [ InfoNCE(t -> p) + 1/2 (InfoNCE(t -> v) + InfoNCE(v -> t)) ]

    Args:
        words: t, word views.
        products: p, fused products.
        images: v, views of the pictures alone; no rows where there are none.
        scale: 1 / temperature.
        dims: Matryoshka lengths.
        mask_same_group: Whether variants are left out of the negatives.
        spatial: The views of other ranks are candidates too; all ranks must then call it in every step.
        group: Ranks that train together; all by default.

    Returns:
        Scalar, this rank's share as `mean_over_ranks` has it. Without pictures on any rank: the first term alone.

    Relations:
        MOON2.0's L_intra is the middle bracket. An anchor without its counterpart (a product without pictures) does not
        count.

    Pitfalls:
        Titles that read the same are positives of one another: a catalogue of identical titles teaches nothing here.
        A word view such as "red Mugs" is true of every red mug. Unless views carry what they say and what is true
        (`train.mask_described`), those stand among its negatives.

    Source: MOON2.0, arXiv 2511.12449, dual-level alignment; the first term is our choice.
    """
    everywhere = [views.of_all_ranks(group) if spatial else views for views in (words, products, images)]
    all_words, all_products, all_images = everywhere

    def mean(left: Views, right: Views) -> torch.Tensor:
        positive, negative = alignment_sets(left, right, mask_same_group)
        loss = over_dims(
            lambda a, b: each_info_nce(similarities(a, b) * scale, positive, negative),
            dims,
            left.vectors_NE,
            right.vectors_NE,
        )
        return mean_over_ranks(loss, positive.any(dim=1), group)

    to_product = mean(words, all_products)
    num_images = sum(rows_by_rank(len(images.codes), images.vectors_NE.device, group))
    if not num_images:
        return to_product
    return 0.5 * (to_product + 0.5 * (mean(words, all_images) + mean(images, all_words)))
