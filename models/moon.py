"""MOON: backbone, guided experts, pooling and head, as one module."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from models.backbones import Backbone, PictureFeatures, build_backbone
from models.batch import Batch
from models.config import ModelConfig
from models.moe import GuidedMoe, TypesInView, upcycle
from models.pooling import Head, mean_by_row, pool, word_pool
from models.tokens import WORD_TYPES


class MoonModel(nn.Module):
    """Batches to unit vectors.

    Args:
        config: The model's section.
        vocab_size: Entries of the tokenizer.
    """

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone: Backbone = build_backbone(config, vocab_size)  # type: ignore[assignment]
        self._in_view = TypesInView()
        self.moes: list[GuidedMoe] = upcycle(
            self.backbone.decoder_layers(),
            self.backbone.ffn_name,
            self.backbone.hidden_size,
            config.moe,
            self._in_view,
        )
        self.head = Head(
            self.backbone.hidden_size,
            self.backbone.vision_size,
            config.embedding_dims,
            config.vision_residual,
            config.word_residual,
        )

    @classmethod
    def seeded(cls, config: ModelConfig, vocab_size: int, seed: int) -> MoonModel:
        """Fresh weights that depend on `seed` alone; the global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, vocab_size)

    def encode_pictures(self, patches_TC: torch.Tensor, grid_N3: torch.Tensor) -> PictureFeatures:
        """Run the vision tower alone: what it made of a picture may be used in several sequences."""
        return self.backbone.encode_pictures(patches_TC, grid_N3)

    def forward(self, batch: Batch, pictures: PictureFeatures | None = None) -> torch.Tensor:
        """Embed a batch.

        Args:
            batch: B sequences.
            pictures: Features of the batch's pictures where they are known already.

        Returns:
            (B, embedding_dims) float32, L2-normalised.
        """
        if pictures is None:
            pictures = self.encode_pictures(batch.patches_TC, batch.grid_N3)
        with self._in_view.showing(batch.types_BL):
            hidden_BLD = self.backbone.hidden_states(
                batch.ids_BL,
                batch.mask_BL,
                batch.positions_3BL,
                pictures.tokens_NKD[batch.slot_picture_S],
            )
        pooled_BD = pool(hidden_BLD, batch.types_BL, self.config.pooling)
        num_rows = batch.ids_BL.shape[0]
        vision_BV = mean_by_row(pictures.pooled_NV[batch.slot_picture_S], batch.slot_row_S, num_rows)
        has_picture_B = torch.bincount(batch.slot_row_S, minlength=num_rows) > 0
        words_BD = word_pool(self.backbone.embed_tokens(batch.ids_BL), batch.types_BL)
        has_words_B = torch.isin(batch.types_BL, torch.tensor(WORD_TYPES, device=batch.types_BL.device)).any(dim=1)
        return self.head(pooled_BD, vision_BV, has_picture_B, words_BD, has_words_B)

    def aux_loss(self) -> torch.Tensor:
        """Weighted balance and z-losses of the experts in the latest forward pass; a scalar."""
        losses = [moe.aux_loss for moe in self.moes if moe.aux_loss is not None]
        return torch.stack(losses).sum() if losses else next(self.parameters()).new_zeros(())


def without_pixels(batch: Batch) -> Batch:
    """The batch without its pixels, for when the features are at hand."""
    return replace(batch, patches_TC=batch.patches_TC[:0], grid_N3=batch.grid_N3[:0])
