"""The loss of one step, as plain torch: query to product, image-text alignment, label alignment, experts.

    L = sum_v omega_v InfoNCE(q^v, p) + w_align align(v, t, p) + w_label CE(v, p and w, label texts)
        + w_distill (1 - cos(x^-, x)) + aux

with q queries in their kinds v, p products, v a product's images alone, t a product in words, w a row of words alone,
x^- a query or product without its crops.
Alignment and labels are not in MOON: alignment inside a product is the largest factor of MOON2.0's ablation, and
zero-shot labels are label *texts*, so training meets them as texts too.

The step runs in two halves, so that it can be cut into chunks: `encode` makes vectors, `loss` knows nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from models.backbones import PictureFeatures
from models.batch import Batch
from models.config import ModelConfig, TrainConfig
from models.heads import matryoshka
from models.losses import (
    ModalityWeights,
    Retrieval,
    RetrievalOptions,
    Temperature,
    Views,
    alignment,
    distillation,
    each_info_nce,
    filter_weights,
    margin_at,
    mean_over_ranks,
    means_by_view,
    retrieval,
    similarities,
)
from models.moe import RouterStats, aux_loss
from models.moon import MoonModel
from models.negatives import NegativeQueue, gather_with_grad
from models.pairs import KINDS
from models.training.train_batch import TrainBatch, View


@dataclass(frozen=True)
class Encoded:
    """What a step's views became."""

    vectors: Mapping[View, torch.Tensor]
    stats: list[RouterStats]
    """Of each guided layer, over all tokens of all views."""
    gates_BZ: torch.Tensor | None = None
    """Mean gate mass of each query's tokens by expert, detached; only where modality weights need it."""


class Objective(nn.Module):
    """Model and losses together: what an optimiser step differentiates.

    Args:
        model: The encoder in training.
        model_config: For the Matryoshka lengths and the experts' losses.
        config: The training's section.
        max_photos: Most photographs of a product; the queue keeps their codes.
    """

    def __init__(self, model: MoonModel, model_config: ModelConfig, config: TrainConfig, max_photos: int = 1) -> None:
        super().__init__()
        self.model, self.model_config, self.config = model, model_config, config
        self.dims = (*model_config.matryoshka_dims, model_config.embedding_dims)
        self.temperature = Temperature(config.temperature, config.min_temperature)
        self.label_temperature = Temperature(config.temperature, config.min_temperature)
        negatives = config.negatives
        self.queue = (
            NegativeQueue(negatives.queue_size, self.dims[-1], max_photos, negatives.queue_warmup_steps)
            if negatives.queue_size
            else None
        )
        weighs = config.modality.enabled and bool(model.moes)
        self.modality = ModalityWeights(model_config.moe.num_experts, KINDS, config.modality.floor) if weighs else None

    @property
    def options(self) -> RetrievalOptions:
        """The retrieval loss as configured."""
        negatives = self.config.negatives
        return RetrievalOptions(
            dims=self.dims,
            symmetric=self.config.symmetric,
            mask_same_group=self.config.mask_same_group,
            similarity_guard=self.config.similarity_guard,
            hard_negative_weight=negatives.hard_weight,
            spatial=negatives.spatial and torch.distributed.is_available() and torch.distributed.is_initialized(),
        )

    def pictures(self, batch: TrainBatch) -> PictureFeatures:
        """Every picture of the step once, however many sequences it stands in."""
        if batch.seen is not None:
            return self.model.project(batch.seen)
        return self.model.encode_pictures(batch.pixels_NCHW)

    def encode(self, view: Batch, pictures: PictureFeatures) -> torch.Tensor:
        """Vectors of one view, or of some of its rows."""
        return self.model(view, pictures)

    def loss(self, batch: TrainBatch, encoded: Encoded) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of the step's vectors, and its parts and measures detached, by name."""
        queries, products = encoded.vectors[View.QUERIES], encoded.vectors[View.PRODUCTS]
        images, texts, words = (encoded.vectors.get(name) for name in (View.IMAGES, View.TEXTS, View.WORDS))
        found = retrieval(
            queries,
            batch.query_codes,
            products,
            batch.product_codes,
            self.temperature.scale,
            self.options,
            self.queue,
            batch.step,
        )
        parts = {"retrieval": self._weighted(batch, found, encoded)}
        if self.modality is not None:
            parts["modality"] = self.config.modality.sparsity_weight * self.modality.sparsity()
        # Not only where this process has a text view: with several, all must take part in the gathering.
        if self.config.alignment_weight:
            parts["alignment"] = self.config.alignment_weight * self._alignment(batch, products, images, texts)
        if batch.labels:
            parts["labels"] = self.config.label_weight * self._labels(batch, products, words, images, texts)
        # Not only where this process has a crop, likewise.
        if self.config.distill_crops:
            parts["distillation"] = self.config.distill_crops * self._distillation(batch, encoded.vectors)
        parts["experts"] = aux_loss(encoded.stats, self.model_config.moe)
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        report = {f"loss/{name}": value.detach() for name, value in parts.items()} | found.report
        report["temperature"] = 1.0 / self.temperature.scale.detach()
        if self.config.label_weight:
            report["label_temperature"] = 1.0 / self.label_temperature.scale.detach()
        if self.modality is not None:
            report |= self.modality.report()
        if self.queue is not None:
            report |= self.queue.staleness(products, batch.product_codes, batch.step)
        return loss, report

    def remember(self, batch: TrainBatch, products: torch.Tensor) -> None:
        """Put the step's products into the queue; to be called once the loss is taken."""
        if self.queue is not None:
            self.queue.push(products, batch.product_codes, batch.step)

    def _weighted(self, batch: TrainBatch, found: Retrieval, encoded: Encoded) -> torch.Tensor:
        """The pairs' losses as one number: by signal, by trust, and by the weights of the kinds of query."""
        weight_Q = batch.weight_B.to(found.loss_Q.device)
        filters = self.config.filter
        if filters.enabled:
            margin = margin_at(batch.step / self.config.steps, filters.margin_start, filters.margin_end)
            weight_Q = weight_Q * filter_weights(
                found.positive_Q,
                found.negative_Q,
                kappa=filters.kappa,
                margin=margin,
                threshold=filters.threshold,
                lowest=filters.lowest,
            )
        if self.modality is None or encoded.gates_BZ is None:
            return mean_over_ranks(found.loss_Q, weight_Q)
        loss_V, share_V = means_by_view(found.loss_Q, weight_Q, batch.kind_B, len(KINDS))
        gates_TZ, kind_T = gather_with_grad(encoded.gates_BZ), gather_with_grad(batch.kind_B)
        gates = {name: gates_TZ[kind_T == number] for number, name in enumerate(KINDS)}
        weights = self.modality(gates)
        # Each kind keeps its share of the batch; omega moves weight between them.
        parts = [weights[name] * share_V[KINDS.index(name)] * loss_V[KINDS.index(name)] for name in weights]
        return torch.stack(parts).sum()

    def _alignment(
        self,
        batch: TrainBatch,
        products: torch.Tensor,
        images: torch.Tensor | None,
        texts: torch.Tensor | None,
    ) -> torch.Tensor:
        rows = batch.text_view_rows
        none = products[:0]

        silent_B0 = batch.view_says_BS[:, :0]

        def views(vectors: torch.Tensor, of: torch.Tensor, says_BS: torch.Tensor = silent_B0) -> Views:
            return Views(vectors, batch.product_codes.rows(of), batch.view_texts_B[of], says_BS[of], batch.facts_BF[of])

        everyone = torch.arange(len(products), device=rows.device)
        return alignment(
            views(none if texts is None else texts[: len(rows)], rows, batch.view_says_BS),
            views(products, everyone),
            views(none if images is None else images, batch.image_view_rows if images is not None else everyone[:0]),
            self.temperature.scale,
            self.dims,
            self.config.mask_same_group,
            self.options.spatial,
        )

    def _distillation(self, batch: TrainBatch, vectors: Mapping[View, torch.Tensor]) -> torch.Tensor:
        """Queries and products alike, each item counting the same."""
        queries, products = vectors[View.QUERIES], vectors[View.PRODUCTS]
        plain = (vectors.get(View.PLAIN_QUERIES, queries[:0]), vectors.get(View.PLAIN_PRODUCTS, products[:0]))
        whole = (queries[batch.plain_query_rows], products[batch.plain_product_rows])
        return distillation(torch.cat(plain), torch.cat(whole), self.dims)

    def _labels(
        self,
        batch: TrainBatch,
        products: torch.Tensor,
        words: torch.Tensor | None,
        images: torch.Tensor | None,
        texts: torch.Tensor | None,
    ) -> torch.Tensor:
        # Each process encodes its part of the label texts, none of them perhaps, and asks its products all.
        everyone = gather_with_grad(products[:0] if texts is None else texts[len(batch.text_view_rows) :])
        losses = []
        for asked in batch.labels:
            labels = everyone[asked.first_text : asked.first_text + asked.right_BL.shape[1]]
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
            each = [self._logits(torch.cat(vectors), labels, dims, self.label_temperature) for dims in self.dims]
            means = [mean_over_ranks(each_info_nce(one, answers, ~answers), answers.any(dim=1)) for one in each]
            losses.append(torch.stack(means).mean())
        return torch.stack(losses).mean()

    @staticmethod
    def _logits(left: torch.Tensor, right: torch.Tensor, dims: int, temperature: Temperature) -> torch.Tensor:
        return similarities(matryoshka(left, dims), matryoshka(right, dims)) * temperature.scale
