"""Temporal negatives: products of past batches, in a ring.

Shape suffixes: S places in the queue, N rows of a batch, E embedding dimensions, F photographs of a product.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from catalog import ModelError
from models.negatives.codes import EMPTY, CandidateCodes, widened
from models.negatives.gather import gather_codes, gather_with_grad, rows_by_rank


class NegativeQueue(nn.Module):
    """The latest product vectors, with the codes that false-negative masks need and the step each was made at.

    A product stands in it once at most: a newer vector takes the older one's right, and while a product is in the
    running batch its stored vector is out. Otherwise a small catalogue would count the same negative many times.

    All state is buffers, so a checkpoint holds the queue. With several ranks `push` stores the products of all of
    them, so that the queues agree: one rank's checkpoint is right for all, and DDP's broadcast of buffers is harmless.

    Args:
        size: Places.
        dims: Length of an embedding.
        max_photos: Most photographs a product has; their codes are kept for the masks.
        warmup_steps: Steps at whose start the queue is filled but not yet used, because vectors still move fast.

    Relations:
        The paper's temporal negatives: candidates with no gradient in the denominator of query -> product. They do
        not serve product -> query, for which queries would have to be kept.

    Pitfalls:
        A stored vector is one of an earlier model. Watch `queue/drift`: 1 - cos to the vector the product has today.
        The drift has a floor above zero, since hidden fields, photographs and augmentation are drawn anew each time;
        what counts is whether it rises above its level at the end of training. Let the queue be shorter when it does.

    Source: MOON, arXiv 2508.11999, negatives of past batches, size and warm-up not given; cross-batch memory,
    arXiv 1912.06798 (small drift after a warm-up). No momentum encoder: our choice, it would double the weights.
    """

    def __init__(self, size: int, dims: int, max_photos: int, warmup_steps: int = 0) -> None:
        super().__init__()
        assert size > 0
        self.size, self.warmup_steps = size, warmup_steps
        self.vectors_SE: torch.Tensor
        self.product_S: torch.Tensor
        self.group_S: torch.Tensor
        self.category_S: torch.Tensor
        self.photos_SF: torch.Tensor
        self.step_S: torch.Tensor
        self.cursor: torch.Tensor
        self.register_buffer("vectors_SE", torch.zeros(size, dims))
        for name in ("product_S", "group_S", "category_S", "step_S"):
            self.register_buffer(name, torch.full((size,), EMPTY))
        self.register_buffer("photos_SF", torch.full((size, max_photos), EMPTY))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.int64))

    def view(self, step: int, fresh: CandidateCodes | None = None) -> tuple[torch.Tensor, CandidateCodes]:
        """Candidates for the batch of `step`.

        Args:
            step: Step of the training, from 0.
            fresh: Products that the batch encodes anew; their stored vectors are out.

        Returns:
            (S, E) float32 unit vectors, a copy, so that a push before the backward pass is harmless; and their codes,
            with product `EMPTY` where the place is unused or out. No rows at all in the warm-up.
        """
        if step < self.warmup_steps:
            return self.vectors_SE[:0].clone(), self._codes().rows(slice(0))
        codes = self._codes()
        if fresh is not None:
            product_S = codes.product_N.masked_fill(torch.isin(codes.product_N, fresh.product_N), EMPTY)
            codes = CandidateCodes(product_S, codes.group_N, codes.category_N, codes.photos_NF)
        return self.vectors_SE.clone(), codes

    @torch.no_grad()
    def push(
        self, vectors_NE: torch.Tensor, codes: CandidateCodes, step: int, group: ProcessGroup | None = None
    ) -> None:
        """Store the products of a batch, those of all ranks; the oldest leave. Of more than `size` the last stay.

        Args:
            vectors_NE: Unit vectors of this rank's products.
            codes: Their codes.
            step: Step they were made at.
            group: Ranks that train together; all by default.

        Raises:
            ModelError: A product has more photographs than the queue keeps codes of.
        """
        vectors_NE, codes = self._of_all_ranks(vectors_NE, codes, group)
        self._check(codes)
        vectors_NE, codes = vectors_NE[-self.size :], codes.rows(slice(-self.size, None))
        index_N = (self.cursor + torch.arange(len(codes), device=self.cursor.device)) % self.size
        self.product_S[torch.isin(self.product_S, codes.product_N)] = EMPTY
        self.vectors_SE[index_N] = vectors_NE.to(self.vectors_SE.dtype)
        self.product_S[index_N] = codes.product_N
        self.group_S[index_N] = codes.group_N
        self.category_S[index_N] = codes.category_N
        self.photos_SF[index_N] = self._fitted(codes.photos_NF)
        self.step_S[index_N] = step
        self.cursor.copy_((self.cursor + len(codes)) % self.size)

    @torch.no_grad()
    def staleness(
        self, vectors_NE: torch.Tensor, codes: CandidateCodes, step: int, group: ProcessGroup | None = None
    ) -> dict[str, torch.Tensor]:
        """How old and how far off the stored vectors are; to be asked before the batch is pushed.

        Args:
            vectors_NE: Unit vectors of this rank's products as they are today.
            codes: Their codes.
            step: Step of the batch.
            group: Ranks that train together; all by default.

        Returns:
            Scalars by name: `queue/filled` products; where there are any, `queue/age_mean` and `queue/age_max` in
            steps; where a stored product is in the batch again, `queue/drift`, mean of 1 - cos, and
            `queue/drift_products`, over how many.
        """
        vectors_NE, codes = self._of_all_ranks(vectors_NE, codes, group)
        used_S = self.product_S != EMPTY
        report = {"queue/filled": used_S.sum()}
        if bool(used_S.any()):
            age = (step - self.step_S[used_S]).float()
            report |= {"queue/age_mean": age.mean(), "queue/age_max": age.max()}
        place, row = ((self.product_S.unsqueeze(1) == codes.product_N) & used_S.unsqueeze(1)).nonzero(as_tuple=True)
        if len(place):
            drift = 1.0 - F.cosine_similarity(self.vectors_SE[place], vectors_NE[row].float(), dim=-1)
            report |= {"queue/drift": drift.mean(), "queue/drift_products": drift.new_tensor(len(place))}
        return report

    def _codes(self) -> CandidateCodes:
        return CandidateCodes(
            self.product_S.clone(), self.group_S.clone(), self.category_S.clone(), self.photos_SF.clone()
        )

    def _of_all_ranks(
        self, vectors_NE: torch.Tensor, codes: CandidateCodes, group: ProcessGroup | None
    ) -> tuple[torch.Tensor, CandidateCodes]:
        vectors_NE = vectors_NE.detach()
        rows = rows_by_rank(len(codes), vectors_NE.device, group)
        return gather_with_grad(vectors_NE, group, rows), gather_codes(codes, group)

    def _check(self, codes: CandidateCodes) -> None:
        kept = self.photos_SF.shape[1]
        most = int((codes.photos_NF != EMPTY).sum(dim=1).max()) if codes.photos_NF.numel() else 0
        if most > kept:
            raise ModelError(
                "a product has more photographs than the negative queue keeps codes of",
                got=str(most),
                allowed=f"at most {kept}",
                fix="make the queue with the largest number of photographs of any training product",
            )

    def _fitted(self, photos_NF: torch.Tensor) -> torch.Tensor:
        kept = self.photos_SF.shape[1]
        # Codes first, padding last: what is cut off here was checked to be padding.
        return widened(photos_NF, max(kept, photos_NF.shape[1]))[:, :kept]
