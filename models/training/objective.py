"""The loss of one step, as plain torch: query to product, image-text alignment, label alignment, experts.

    L = InfoNCE(q, p) + w_align (InfoNCE(v, t) + InfoNCE(t, p)) / 2 + w_label CE(v and p, label texts) + aux

with q queries, p products, v a product's images alone, t a product in words. The cross-entropy is also taken over rows
of words alone. Alignment and labels are not in MOON: alignment inside a product is the largest factor of MOON2.0's
ablation, and zero-shot labels are label *texts*, so training meets them as texts too.
"""

from __future__ import annotations

import torch
from torch import nn

from models.backbones import PictureFeatures
from models.batch import Batch
from models.config import ModelConfig, TrainConfig
from models.losses import Temperature, info_nce, symmetric_info_nce
from models.moon import MoonModel
from models.negatives import guarded
from models.pooling import matryoshka
from models.training.data import TrainBatch


class Objective(nn.Module):
    """Model and losses together: what an optimiser step differentiates.

    Args:
        model: The encoder in training.
        model_config: For the Matryoshka lengths.
        config: The training's section.
    """

    def __init__(self, model: MoonModel, model_config: ModelConfig, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.dims = (*model_config.matryoshka_dims, model_config.embedding_dims)
        self.temperature = Temperature(config.temperature, config.min_temperature)
        self.label_temperature = Temperature(config.temperature, config.min_temperature)

    def forward(self, batch: TrainBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Returns the loss, and its parts and measures detached, by name."""
        pictures = self.model.encode_pictures(batch.patches_TC, batch.grid_N3)
        aux: list[torch.Tensor] = []

        def embed(one: Batch, pictures: PictureFeatures = pictures) -> torch.Tensor:
            vectors = self.model(one, pictures)
            aux.append(self.model.aux_loss())
            return vectors

        queries, products = embed(batch.queries), embed(batch.products)
        images = embed(batch.image_views) if batch.image_views is not None else None
        texts = embed(batch.texts) if batch.texts is not None else None
        words = embed(batch.word_views) if batch.word_views is not None else None
        parts = {"retrieval": self._retrieval(batch, queries, products)}
        if texts is not None and len(batch.text_view_rows):
            parts["alignment"] = self.config.alignment_weight * self._alignment(batch, products, images, texts)
        if texts is not None and batch.labels:
            parts["labels"] = self.config.label_weight * self._labels(batch, products, words, images, texts)
        parts["experts"] = torch.stack(aux).mean()
        loss = torch.stack(list(parts.values())).sum()
        report = {f"loss/{name}": value.detach() for name, value in parts.items()}
        with torch.no_grad():
            similarity = queries @ products.T
            hits = similarity.argmax(dim=1) == torch.arange(len(queries), device=queries.device)
            report["batch/recall@1"] = hits.float().mean()
            report["temperature"] = 1.0 / self.temperature.scale
        return loss, report

    def _retrieval(self, batch: TrainBatch, queries: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
        positive = torch.eye(len(queries), dtype=torch.bool, device=queries.device)
        blocked = batch.not_negative_BB | positive
        if self.config.similarity_guard is not None:
            blocked = blocked | guarded(queries @ products.T, positive, self.config.similarity_guard)
        nce = symmetric_info_nce if self.config.symmetric else info_nce
        return torch.stack(
            [nce(self._logits(queries, products, dims, self.temperature), positive, ~blocked) for dims in self.dims]
        ).mean()

    def _alignment(
        self, batch: TrainBatch, products: torch.Tensor, images: torch.Tensor | None, texts: torch.Tensor
    ) -> torch.Tensor:
        rows = batch.text_view_rows
        words = texts[: len(rows)]
        own = rows.unsqueeze(1) == torch.arange(len(products), device=rows.device)
        # A product whose text view reads the same is answered by these words just as well.
        same = (batch.same_text_VV.float() @ own.float()) > 0
        blocked = batch.related_BB[rows] | same
        losses = [self._nce_over_dims(words, products, same, ~blocked)]
        if images is not None and len(images):
            columns = batch.image_view_rows
            losses.append(self._nce_over_dims(words, images, same[:, columns], ~blocked[:, columns], both_ways=True))
        return torch.stack(losses).mean()

    def _nce_over_dims(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        positive: torch.Tensor,
        negative: torch.Tensor,
        both_ways: bool = False,
    ) -> torch.Tensor:
        nce = symmetric_info_nce if both_ways else info_nce
        return torch.stack(
            [nce(self._logits(left, right, dims, self.temperature), positive, negative) for dims in self.dims]
        ).mean()

    def _labels(
        self,
        batch: TrainBatch,
        products: torch.Tensor,
        words: torch.Tensor | None,
        images: torch.Tensor | None,
        texts: torch.Tensor,
    ) -> torch.Tensor:
        losses = []
        for asked in batch.labels:
            labels = texts[asked.first_text : asked.first_text + asked.right_BL.shape[1]]
            answered = asked.right_BL.any(dim=1)
            blind = torch.nonzero(answered & asked.product_may_see_B).squeeze(-1)
            vectors, right = [products[blind]], [asked.right_BL[blind]]
            if words is not None:
                blind = torch.nonzero(answered & asked.words_may_see_B).squeeze(-1)
                vectors.append(words[blind])
                right.append(asked.right_BL[blind])
            if images is not None:
                keep = torch.nonzero(answered[batch.image_view_rows]).squeeze(-1)
                vectors.append(images[keep])
                right.append(asked.right_BL[batch.image_view_rows[keep]])
            answers = torch.cat(right)
            losses.append(
                torch.stack(
                    [
                        info_nce(
                            self._logits(torch.cat(vectors), labels, dims, self.label_temperature), answers, ~answers
                        )
                        for dims in self.dims
                    ]
                ).mean()
            )
        return torch.stack(losses).mean()

    @staticmethod
    def _logits(left: torch.Tensor, right: torch.Tensor, dims: int, temperature: Temperature) -> torch.Tensor:
        return matryoshka(left, dims) @ matryoshka(right, dims).T * temperature.scale
